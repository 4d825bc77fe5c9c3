//! The content of a task: from the command line, a file or standard input.

use std::io::Read;

use oarlock_client::queue::TaskPayload;

use crate::cli::PayloadArgs;
use crate::command::input;
use crate::exit::Failure;

/// Reads the bytes of the content. A newline at the end of a text from a file or standard input is part of JSON, and of bytes.
///
/// # Errors
/// As [`input::read`].
pub(super) fn read(args: &PayloadArgs, stdin: impl Read) -> Result<Vec<u8>, Failure> {
    input::read(args.payload.clone(), args.file.as_deref(), stdin)
}

/// The content of these bytes: JSON, or with `--bytes` the bytes themselves.
///
/// # Errors
/// They are not JSON.
pub(super) fn payload(bytes: &[u8], args: &PayloadArgs) -> Result<TaskPayload, Failure> {
    if args.bytes {
        return Ok(TaskPayload::bytes(bytes.to_vec()));
    }
    let json = std::str::from_utf8(bytes)
        .map_err(|error| error.to_string())
        .and_then(|text| TaskPayload::json_text(text.trim()).map_err(|error| error.to_string()));
    json.map_err(|error| {
        Failure::usage(format!(
            "the content is not JSON: {error}; write JSON, such as '{{\"to\":\"ann\"}}' or '\"a text\"', or pass --bytes"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(bytes: bool) -> PayloadArgs {
        PayloadArgs {
            payload: Some("-".to_owned()),
            file: None,
            bytes,
        }
    }

    #[test]
    fn json_is_kept_as_it_is_written_and_other_text_needs_a_flag() {
        let read = read(&args(false), &b" {\"a\": 1.50}\n"[..]).expect("readable");
        let payload = payload(&read, &args(false)).expect("JSON");
        assert_eq!(payload.as_bytes(), b"{\"a\": 1.50}");
        let failure = super::payload(b"hello", &args(false)).expect_err("not JSON");
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("--bytes"), "{failure}");
        let bytes = super::payload(b"hello\n\xff", &args(true)).expect("bytes");
        assert_eq!(bytes.as_bytes(), b"hello\n\xff");
    }
}
