#include "json.h"

#include <stdio.h>
#include <string.h>

// How deep arrays and objects may be in each other.
#define DEEPEST 128

static const struct span NONE = {NULL, 0};

void refuse(struct text *out, const char *code, const char *message, struct span field) {
  text_put(out, "{\"error\":{\"code\":\"");
  text_put(out, code);
  text_put(out, "\",\"message\":\"");
  text_put(out, message);
  if (field.start != NULL) {
    text_put(out, "\",\"field\":\"");
    text_put_span(out, field);
  }
  text_put(out, "\"}}");
}

// Where the reader is.
struct reader {
  const char *at, *end;
};

static void skip_space(struct reader *from) {
  while (from->at < from->end && memchr(" \t\n\r", *from->at, 4) != NULL) from->at++;
}

static bool is_next(struct reader *from, char expected) {
  skip_space(from);
  return from->at < from->end && *from->at == expected;
}

static bool take(struct reader *from, char expected) {
  if (!is_next(from, expected)) return false;
  from->at++;
  return true;
}

static bool is_digit(struct reader *from) { return from->at < from->end && *from->at >= '0' && *from->at <= '9'; }

static bool take_digits(struct reader *from) {
  if (!is_digit(from)) return false;
  while (is_digit(from)) from->at++;
  return true;
}

// The inside of a string, escapes as they are.
static bool take_string(struct reader *from, struct span *inside) {
  if (!take(from, '"')) return false;
  const char *start = from->at;
  for (; from->at < from->end; from->at++) {
    unsigned char byte = (unsigned char)*from->at;
    if (byte < 0x20) return false;
    if (byte == '"') {
      *inside = (struct span){start, (size_t)(from->at - start)};
      from->at++;
      return true;
    }
    if (byte != '\\') continue;
    if (++from->at == from->end || memchr("\"\\/bfnrtu", *from->at, 9) == NULL) return false;
    if (*from->at != 'u') continue;
    for (int i = 0; i < 4; i++) {
      if (++from->at == from->end || memchr("0123456789abcdefABCDEF", *from->at, 22) == NULL) return false;
    }
  }
  return false;
}

// A number, and whether it is a whole one of 64 bits.
static bool take_number(struct reader *from, bool *whole, int64_t *number) {
  bool negative = take(from, '-');
  const char *digits = from->at;
  if (!take_digits(from) || (*digits == '0' && from->at - digits > 1)) return false;
  *whole = true;
  *number = 0;
  for (const char *at = digits; at < from->at; at++) {
    int64_t digit = negative ? '0' - *at : *at - '0';
    if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, digit, number)) *whole = false;
  }
  if (from->at < from->end && *from->at == '.') {
    *whole = false;
    from->at++;
    if (!take_digits(from)) return false;
  }
  if (from->at < from->end && (*from->at == 'e' || *from->at == 'E')) {
    *whole = false;
    from->at++;
    if (from->at < from->end && (*from->at == '+' || *from->at == '-')) from->at++;
    if (!take_digits(from)) return false;
  }
  return true;
}

static bool take_word(struct reader *from, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(from->end - from->at) < length || memcmp(from->at, word, length) != 0) return false;
  from->at += length;
  return true;
}

// Any value, so that what is no JSON at all is told from what is the wrong JSON.
static bool take_value(struct reader *from, int depth) {
  struct span string;
  bool whole;
  int64_t number;
  if (depth == DEEPEST) return false;
  if (is_next(from, '"')) return take_string(from, &string);
  bool object = is_next(from, '{');
  if (object || is_next(from, '[')) {
    char close = object ? '}' : ']';
    from->at++;
    if (take(from, close)) return true;
    do {
      if (object && !(take_string(from, &string) && take(from, ':'))) return false;
      if (!take_value(from, depth + 1)) return false;
    } while (take(from, ','));
    return take(from, close);
  }
  if (take_word(from, "true") || take_word(from, "false") || take_word(from, "null")) return true;
  return take_number(from, &whole, &number);
}

static bool is_utf8(struct span text) {
  const unsigned char *at = (const unsigned char *)text.start, *end = at + text.length;
  while (at < end) {
    unsigned char first = *at++;
    if (first < 0x80) continue;
    int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || end - at < more) return false;
    // The second byte rules out what has a shorter form, half of a pair, and what lies past the last character.
    unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (*at < least || *at > most) return false;
    for (int i = 1; i < more; i++) {
      if ((at[i] & 0xc0) != 0x80) return false;
    }
    at += more;
  }
  return true;
}

static bool is_json(struct span text) {
  struct reader from = {text.start, text.start + text.length};
  if (!is_utf8(text) || !take_value(&from, 0)) return false;
  skip_space(&from);
  return from.at == from.end;
}

static bool is_name(struct span found, const char *name) {
  return found.length == strlen(name) && memcmp(found.start, name, found.length) == 0;
}

bool json_message(struct span text, const char *what, const char *name, const char *field, int64_t *number,
                  struct text *out) {
  char code[16];
  snprintf(code, sizeof code, "bad_%s", what);
  struct span found;
  if (!is_json(text)) {
    refuse(out, code, "this is not JSON", NONE);
    return false;
  }
  // From here on the text is known to be JSON, and only its shape is in question.
  struct reader from = {text.start, text.start + text.length};
  if (!take(&from, '{') || !take_string(&from, &found)) {
    refuse(out, code, "a message is an object with one field: its name", NONE);
    return false;
  }
  if (!is_name(found, name)) {
    refuse(out, code, "there is nothing of that name", found);
    return false;
  }
  if (!take(&from, ':') || !take(&from, '{')) {
    refuse(out, code, "its content is an object", found);
    return false;
  }
  bool there = field == NULL;
  bool empty = take(&from, '}');
  while (!empty) {
    take_string(&from, &found);
    take(&from, ':');
    if (field == NULL || !is_name(found, field)) {
      refuse(out, code, "it has no such field", found);
      return false;
    }
    bool whole = false, again = there;
    bool is_number = !is_next(&from, '"') && !is_next(&from, '{') && !is_next(&from, '[');
    if (again || !is_number || !take_number(&from, &whole, number) || !whole) {
      refuse(out, code, again ? "the field is there twice" : "the field is a whole number of 64 bits", found);
      return false;
    }
    there = true;
    if (!take(&from, ',')) break;
  }
  if (!empty) take(&from, '}');
  if (!there) {
    refuse(out, code, "a field is missing", (struct span){field, strlen(field)});
    return false;
  }
  if (!take(&from, '}')) {
    refuse(out, code, "a message is an object with one field: its name", NONE);
    return false;
  }
  return true;
}
