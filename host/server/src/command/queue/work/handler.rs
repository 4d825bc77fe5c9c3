//! One run of the handler program for a task.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use oarlock_client::queue::{MAX_RESULT_BYTES, ReservedTask};
use oarlock_client::worker::{TaskFailure, TaskOutput};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::process::{HandlerPipes, HandlerProcess};
use crate::exit::Failure;

/// The exit code that makes a task dead: EX_DATAERR of `sysexits.h`, "the input data was incorrect".
const DEAD: i32 = 65;
/// Bytes of standard error that are kept as the reason. The queue keeps 1,024 bytes with the exit code before them.
const REASON_BYTES: usize = 900;
/// A handler that has ended may have left processes that hold its output open. They are not waited for longer.
const LEFT_OPEN: Duration = Duration::from_millis(500);
/// Pause before a task is tried again whose handler could not be started.
const NOT_STARTED: Duration = Duration::from_secs(5);

/// The program that runs for each task.
pub(super) struct HandlerProgram {
    program: OsString,
    arguments: Vec<OsString>,
    /// Whether standard output is the result of the task.
    has_result: bool,
    /// Whether standard output of this process is for JSON only.
    json: bool,
    /// True once handlers must end.
    grace_is_over: watch::Receiver<bool>,
    /// Held by each handler until its process has ended.
    ending: mpsc::Sender<()>,
}

impl HandlerProgram {
    /// Checks that the program can be found.
    ///
    /// # Errors
    /// It can't.
    pub(super) fn new(
        handler: Vec<OsString>,
        has_result: bool,
        json: bool,
        grace_is_over: watch::Receiver<bool>,
        ending: mpsc::Sender<()>,
    ) -> Result<Self, Failure> {
        let mut words = handler.into_iter();
        let program = words.next().unwrap_or_default();
        if !can_be_found(&program) {
            return Err(Failure::failed(format!(
                "there is no program {}; give a path, or a name in PATH, after --",
                program.display()
            )));
        }
        Ok(Self {
            program,
            arguments: words.collect(),
            has_result,
            json,
            grace_is_over,
            ending,
        })
    }

    /// Runs the program until it ends, or until the grace time is over. If the future is dropped, the program is ended.
    pub(super) async fn handle(&self, task: &ReservedTask) -> Result<TaskOutput, TaskFailure> {
        let started = HandlerProcess::start(&mut self.command(task), self.ending.clone());
        let (mut process, pipes) = started.map_err(|error| {
            let program = self.program.display();
            TaskFailure::new(format!("cannot start {program}: {error}")).retry_after(NOT_STARTED)
        })?;
        let outcome = tokio::select! {
            outcome = run(&mut process, pipes, task.payload.as_bytes()) => outcome,
            () = end_of_grace(self.grace_is_over.clone()) => {
                process.terminate().await;
                return Err(TaskFailure::new("the worker was stopped before the handler ended"));
            }
        };
        self.judge(outcome?)
    }

    fn command(&self, task: &ReservedTask) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(environment(task))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        if self.has_result {
            command.stdout(Stdio::piped());
        } else if self.json {
            command.stdout(std::io::stderr());
        } else {
            command.stdout(Stdio::inherit());
        }
        command
    }

    /// The outcome of a run, by its exit code.
    fn judge(&self, run: HandlerRun) -> Result<TaskOutput, TaskFailure> {
        let reason = |what: String| {
            let text = String::from_utf8_lossy(&run.errors);
            match text.trim() {
                "" => what,
                text => format!("{what}: {text}"),
            }
        };
        match run.status.code() {
            Some(0) if self.has_result => result(&run.output),
            Some(0) => Ok(TaskOutput::default()),
            Some(DEAD) => Err(TaskFailure::new(reason(format!("exit code {DEAD}"))).dead()),
            Some(code) => Err(TaskFailure::new(reason(format!("exit code {code}")))),
            // It has no exit code: a signal has ended it.
            None => Err(TaskFailure::new(reason(run.status.to_string()))),
        }
    }
}

/// Waits until handlers must end.
async fn end_of_grace(mut grace_is_over: watch::Receiver<bool>) {
    if grace_is_over.wait_for(|is_over| *is_over).await.is_err() {
        // The sender lives as long as the worker; without it there is no end.
        std::future::pending::<()>().await;
    }
}

fn can_be_found(program: &OsString) -> bool {
    let path = Path::new(program);
    if path.components().count() > 1 || path.is_absolute() {
        return path.is_file();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    !program.is_empty()
        && std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// The variables of a task. Those whose value a variable can't have are left out.
fn environment(task: &ReservedTask) -> Vec<(String, String)> {
    let text = |name: &str, value: &Option<String>| {
        (
            format!("OARLOCK_TASK_{name}"),
            value.clone().unwrap_or_default(),
        )
    };
    let mut variables = vec![
        text("ID", &Some(task.id.to_string())),
        text("QUEUE", &Some(task.queue.clone())),
        text("ATTEMPT", &Some(task.attempt.to_string())),
        text("CONTENT_TYPE", &task.content_type),
        text("FAIRNESS_KEY", &task.fairness_key),
        text("ORDERING_KEY", &task.ordering_key),
        text("ATTRIBUTES", &serde_json::to_string(&task.attributes).ok()),
    ];
    for (name, value) in &task.attributes {
        let name: String = name
            .chars()
            .map(|c| match c.to_ascii_uppercase() {
                c if c.is_ascii_alphanumeric() => c,
                _ => '_',
            })
            .collect();
        variables.push(text(&format!("ATTRIBUTE_{name}"), &Some(value.clone())));
    }
    variables.retain(|(_, value)| !value.contains('\0'));
    variables
}

/// How a run ended.
struct HandlerRun {
    status: ExitStatus,
    /// Standard output, if it is the result, up to one byte more than its limit.
    output: Vec<u8>,
    /// The end of standard error.
    errors: Vec<u8>,
}

async fn run(
    process: &mut HandlerProcess,
    pipes: HandlerPipes,
    input: &[u8],
) -> Result<HandlerRun, TaskFailure> {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let status = {
        let reading = async {
            tokio::join!(
                read_output(pipes.stdout, &mut output),
                read_errors(pipes.stderr, &mut errors)
            );
        };
        let running = async {
            // A handler need not read its input.
            let (_, status) = tokio::join!(write_input(pipes.stdin, input), process.wait());
            status
        };
        tokio::pin!(reading, running);
        tokio::select! {
            status = &mut running => {
                // Without its end, what was read so far counts.
                let _ = timeout(LEFT_OPEN, reading).await;
                status
            }
            () = &mut reading => running.await,
        }
    }?;
    Ok(HandlerRun {
        status,
        output,
        errors,
    })
}

async fn write_input(stdin: Option<ChildStdin>, input: &[u8]) -> std::io::Result<()> {
    let Some(mut stdin) = stdin else {
        return Ok(());
    };
    stdin.write_all(input).await?;
    stdin.shutdown().await
}

/// Reads to the end, and keeps one byte more than a result may have.
async fn read_output(from: Option<impl AsyncRead + Unpin>, output: &mut Vec<u8>) {
    let Some(mut from) = from else {
        return;
    };
    let mut part = vec![0; 8192];
    while let Ok(count @ 1..) = from.read(&mut part).await {
        let room = (MAX_RESULT_BYTES + 1).saturating_sub(output.len());
        output.extend_from_slice(&part[..count.min(room)]);
    }
}

/// Passes standard error on, and keeps its end.
async fn read_errors(from: Option<impl AsyncRead + Unpin>, errors: &mut Vec<u8>) {
    let Some(mut from) = from else {
        return;
    };
    let mut part = vec![0; 8192];
    while let Ok(count @ 1..) = from.read(&mut part).await {
        // Standard error of this process may be closed.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), &part[..count]);
        errors.extend_from_slice(&part[..count]);
        let surplus = errors.len().saturating_sub(REASON_BYTES);
        errors.drain(..surplus);
    }
}

/// Standard output as a result: JSON as it is, other text as a string.
fn result(output: &[u8]) -> Result<TaskOutput, TaskFailure> {
    if output.len() > MAX_RESULT_BYTES {
        return Err(TaskFailure::new(format!(
            "the handler wrote a result of more than {MAX_RESULT_BYTES} bytes to standard output; write less"
        )));
    }
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    if text.is_empty() {
        return Ok(TaskOutput::default());
    }
    Ok(match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(json) => TaskOutput::json(&json)?,
        Err(_) => TaskOutput::json(text)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program, and what it holds: the grace time, and the handlers that have not ended.
    struct Case {
        program: HandlerProgram,
        grace_is_over: watch::Sender<bool>,
        ended: mpsc::Receiver<()>,
    }

    fn shell(script: &str) -> Case {
        let (grace_is_over, grace) = watch::channel(false);
        let (ending, ended) = mpsc::channel(1);
        let words = ["sh", "-c", script].map(OsString::from).to_vec();
        Case {
            program: HandlerProgram::new(words, true, false, grace, ending).expect("a shell"),
            grace_is_over,
            ended,
        }
    }

    fn task(payload: &str) -> ReservedTask {
        let task = serde_json::json!({
            "id": 5, "queue": "email", "attempt": 2, "token": "5-t", "lease_until_ms": 1, "content_type": "text/plain",
            "attributes": {"trace-id": "t1", "bad": "a\0b"}, "payload": serde_json::from_str::<serde_json::Value>(payload).expect("JSON")
        });
        serde_json::from_value(task).expect("a task")
    }

    async fn outcome(script: &str) -> Result<TaskOutput, TaskFailure> {
        shell(script).program.handle(&task(r#"{"to":"ann"}"#)).await
    }

    #[tokio::test]
    async fn the_content_is_on_standard_input_and_the_rest_in_the_environment() {
        let script = r#"
            task="$OARLOCK_TASK_ID $OARLOCK_TASK_QUEUE $OARLOCK_TASK_ATTEMPT"
            texts="$OARLOCK_TASK_CONTENT_TYPE $OARLOCK_TASK_ATTRIBUTE_TRACE_ID ${OARLOCK_TASK_ATTRIBUTE_BAD-none}"
            echo "[$(cat), \"$task\", \"$texts\"]"
        "#;
        let output = outcome(script).await.expect("exit code 0");
        let expected = r#"[{"to":"ann"}, "5 email 2", "text/plain t1 none"]"#;
        let expected: Box<RawValue> = serde_json::from_str(expected).expect("JSON");
        let expected = TaskOutput::json(&expected).expect("JSON");
        assert_eq!(format!("{output:?}"), format!("{expected:?}"));
    }

    #[tokio::test]
    async fn the_exit_code_decides_and_standard_error_is_the_reason() {
        for (script, reason, is_dead) in [
            (
                "echo first >&2; echo no route >&2; exit 3",
                "exit code 3: first\nno route",
                false,
            ),
            (
                "echo bad address >&2; exit 65",
                "exit code 65: bad address",
                true,
            ),
            ("exit 1", "exit code 1", false),
        ] {
            let failure = outcome(script).await.expect_err("it failed");
            let expected = TaskFailure::new(reason);
            let expected = if is_dead { expected.dead() } else { expected };
            assert_eq!(failure, expected);
        }
        let killed = outcome("kill -9 $$").await.expect_err("a signal");
        assert!(killed.to_string().contains("signal"), "{killed}");
    }

    #[tokio::test]
    async fn only_the_end_of_standard_error_is_kept() {
        let script = "i=0; while [ $i -lt 500 ]; do echo line $i >&2; i=$((i+1)); done; exit 1";
        let failure = outcome(script).await.expect_err("it failed").to_string();
        assert!(failure.ends_with("line 499"), "{failure}");
        assert!(failure.len() < 1024, "{}", failure.len());
    }

    #[tokio::test]
    async fn a_handler_need_not_read_its_input_and_may_leave_a_process() {
        let text = "x".repeat(1 << 20);
        let payload = serde_json::to_string(&text).expect("JSON");
        let case = shell("sleep 5 & exit 0");
        case.program.handle(&task(&payload)).await.expect("done");
    }

    #[tokio::test]
    async fn a_result_that_is_too_long_is_a_failure() {
        let failure = outcome("head -c 70000 /dev/zero").await;
        let failure = failure.expect_err("too long").to_string();
        assert!(failure.contains("65536 bytes"), "{failure}");
    }

    #[tokio::test]
    async fn after_the_grace_time_a_handler_is_ended_and_its_task_returned() {
        let mut case = shell("sleep 600 & wait");
        let (task, program) = (task("1"), &case.program);
        let stop = async { case.grace_is_over.send_replace(true) };
        let (outcome, _) = tokio::join!(program.handle(&task), stop);
        let failure = outcome.expect_err("it was stopped").to_string();
        assert!(failure.contains("the worker was stopped"), "{failure}");
        drop(case.program);
        assert_eq!(case.ended.recv().await, None);
    }

    #[tokio::test]
    async fn a_handler_whose_task_is_lost_is_ended() {
        let mut case = shell("sleep 600 & wait");
        let task = task("1");
        let mut handling = Box::pin(case.program.handle(&task));
        // It is started when it is polled first.
        assert!(
            timeout(Duration::from_millis(1), &mut handling)
                .await
                .is_err()
        );
        drop(handling);
        drop(case.program);
        assert_eq!(case.ended.recv().await, None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let (ending, _) = mpsc::channel(1);
        let (_, grace) = watch::channel(false);
        let words = vec![OsString::from("no-such-program-here")];
        let failure = HandlerProgram::new(words, false, false, grace, ending)
            .err()
            .expect("it is not there");
        assert!(failure.to_string().contains("no-such-program-here"));
    }
}
