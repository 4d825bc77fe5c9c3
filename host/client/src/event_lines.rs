//! Parses server-sent events (HTML standard, section 9.2), as nodes send them.

/// An event of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// Position in the log: the index of the entry, and the number of the event in it, as in `120.0`.
    pub id: String,
    /// The topic. `oarlock.gap` means that events may be missing before this one.
    pub topic: String,
    /// The payload. If it begins with `{"hex":"`, the rest is its bytes in hexadecimal.
    pub data: String,
}

/// The lines of one stream, of which the last may be incomplete.
#[derive(Debug, Default)]
pub(crate) struct EventLines {
    /// Bytes after the last complete line.
    rest: Vec<u8>,
    topic: Option<String>,
    data: Option<String>,
    /// The latest id, also of an event that is not complete.
    id: Option<String>,
    /// The id of what is complete.
    last_id: Option<String>,
}

impl EventLines {
    /// Adds bytes of the stream. Returns the events that they complete. `limit`: most bytes of an incomplete event.
    ///
    /// # Errors
    /// An event is longer than the limit.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Vec<ReceivedEvent>, String> {
        let mut events = Vec::new();
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let used = self.rest.len() + self.data.as_ref().map_or(0, String::len);
            if used + line.len() > limit {
                return Err(format!("an event has more than {limit} bytes"));
            }
            self.rest.extend_from_slice(line);
            if lines.peek().is_some() {
                let line = std::mem::take(&mut self.rest);
                events.extend(self.line(&String::from_utf8_lossy(&line)));
            }
        }
        Ok(events)
    }

    /// Id of the last complete event, or a later position without an event.
    pub(crate) fn last_id(&self) -> Option<String> {
        self.last_id.clone()
    }

    /// Reads one line. An empty one ends an event.
    fn line(&mut self, line: &str) -> Option<ReceivedEvent> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            self.last_id.clone_from(&self.id);
            let (topic, data) = (self.topic.take(), self.data.take());
            return Some(ReceivedEvent {
                id: self.id.clone().unwrap_or_default(),
                topic: topic.unwrap_or_else(|| "message".to_owned()),
                data: data?,
            });
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => self.topic = Some(value.to_owned()),
            "id" => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, which only keeps the connection alive, or a field of a later version.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": events of the guest\nid: 4.1\n\nevent: t\ndata: one\ndata: more\nid: 5.0\n\n: keep-alive\n\nevent: oarlock.gap\ndata:{}\r\nid: 9.0\n\ndata: x\n\n";

    fn expected() -> Vec<ReceivedEvent> {
        [
            ("5.0", "t", "one\nmore"),
            ("9.0", "oarlock.gap", "{}"),
            ("9.0", "message", "x"),
        ]
        .map(|(id, topic, data)| ReceivedEvent {
            id: id.to_owned(),
            topic: topic.to_owned(),
            data: data.to_owned(),
        })
        .to_vec()
    }

    #[test]
    fn events_are_complete_however_the_bytes_arrive() {
        for size in 1..STREAM.len() {
            let mut lines = EventLines::default();
            let parts = STREAM.as_bytes().chunks(size);
            let events: Vec<ReceivedEvent> = parts
                .flat_map(|part| lines.push(part, 100).expect("short"))
                .collect();
            assert_eq!(events, expected(), "{size} bytes at once");
        }
    }

    #[test]
    fn the_position_at_the_start_is_no_event() {
        let mut lines = EventLines::default();
        assert_eq!(lines.push(b": events\nid: 4.1\n\n", 100), Ok(Vec::new()));
        assert_eq!(lines.last_id().as_deref(), Some("4.1"));
    }

    #[test]
    fn an_event_that_is_cut_off_does_not_count_as_received() {
        let mut lines = EventLines::default();
        let text = b"id: 4.1\n\nevent: t\ndata: x\nid: 5.0\n";
        assert_eq!(lines.push(text, 100), Ok(Vec::new()));
        assert_eq!(lines.last_id().as_deref(), Some("4.1"));
        assert_eq!(lines.push(b"\n", 100).map(|events| events.len()), Ok(1));
        assert_eq!(lines.last_id().as_deref(), Some("5.0"));
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut lines = EventLines::default();
        assert!(lines.push(&[b'x'; 60], 100).is_ok());
        assert!(lines.push(&[b'x'; 60], 100).is_err());
        let mut lines = EventLines::default();
        let text = "data: 0123456789\n".repeat(12);
        assert!(lines.push(text.as_bytes(), 100).is_err());
    }
}
