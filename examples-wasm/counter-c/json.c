#include "json.h"

#include <stdio.h>
#include <string.h>

// Deepest nesting of arrays and objects.
#ifndef MAX_DEPTH
#define MAX_DEPTH 128
#endif

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

// The unread part of a text.
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

// Takes a string. `inside` is its content with the escapes unchanged.
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

// Takes a number. `integer` tells whether it is a 64-bit integer.
static bool take_number(struct reader *from, bool *integer, int64_t *number) {
  bool negative = take(from, '-');
  const char *digits = from->at;
  if (!take_digits(from) || (*digits == '0' && from->at - digits > 1)) return false;
  *integer = true;
  *number = 0;
  for (const char *at = digits; at < from->at; at++) {
    int64_t digit = negative ? '0' - *at : *at - '0';
    if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, digit, number)) *integer = false;
  }
  if (from->at < from->end && *from->at == '.') {
    *integer = false;
    from->at++;
    if (!take_digits(from)) return false;
  }
  if (from->at < from->end && (*from->at == 'e' || *from->at == 'E')) {
    *integer = false;
    from->at++;
    if (from->at < from->end && (*from->at == '+' || *from->at == '-')) from->at++;
    if (!take_digits(from)) return false;
  }
  return true;
}

static bool take_literal(struct reader *from, const char *literal) {
  size_t length = strlen(literal);
  if ((size_t)(from->end - from->at) < length || memcmp(from->at, literal, length) != 0) return false;
  from->at += length;
  return true;
}

// Takes any value. So text that is not JSON gets another refusal than JSON of the wrong shape.
static bool take_value(struct reader *from, int depth) {
  struct span string;
  bool integer;
  int64_t number;
  if (depth == MAX_DEPTH) return false;
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
  if (take_literal(from, "true") || take_literal(from, "false") || take_literal(from, "null")) return true;
  return take_number(from, &integer, &number);
}

static bool is_utf8(struct span text) {
  const unsigned char *at = (const unsigned char *)text.start, *end = at + text.length;
  while (at < end) {
    unsigned char first = *at++;
    if (first < 0x80) continue;
    int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || end - at < more) return false;
    // The second byte excludes overlong forms, surrogates, and code points above U+10FFFF.
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
  // The text is valid JSON. From here on only its shape is checked.
  struct reader from = {text.start, text.start + text.length};
  if (!take(&from, '{') || !take_string(&from, &found)) {
    refuse(out, code, "a message must be an object with one key: its name", NONE);
    return false;
  }
  if (!is_name(found, name)) {
    refuse(out, code, "unknown name", found);
    return false;
  }
  if (!take(&from, ':') || !take(&from, '{')) {
    refuse(out, code, "the content must be an object", found);
    return false;
  }
  bool found_field = field == NULL;
  bool empty = take(&from, '}');
  while (!empty) {
    take_string(&from, &found);
    take(&from, ':');
    if (field == NULL || !is_name(found, field)) {
      refuse(out, code, "unknown field", found);
      return false;
    }
    bool integer = false, repeated = found_field;
    bool is_number = !is_next(&from, '"') && !is_next(&from, '{') && !is_next(&from, '[');
    if (repeated || !is_number || !take_number(&from, &integer, number) || !integer) {
      refuse(out, code, repeated ? "the field is given twice" : "the field must be a 64-bit integer", found);
      return false;
    }
    found_field = true;
    if (!take(&from, ',')) break;
  }
  if (!empty) take(&from, '}');
  if (!found_field) {
    refuse(out, code, "missing field", (struct span){field, strlen(field)});
    return false;
  }
  if (!take(&from, '}')) {
    refuse(out, code, "a message must be an object with one key: its name", NONE);
    return false;
  }
  return true;
}
