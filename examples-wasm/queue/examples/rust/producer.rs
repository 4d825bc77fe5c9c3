//! Adds tasks to a queue: `queue_producer 127.0.0.1:8101,127.0.0.1:8102 email 10`.

use oarlock_client::queue::{NewTask, Queue};
use oarlock_client::{Client, Endpoint};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoints, name, count] = &arguments[..] else {
        return Err("usage: queue_producer ENDPOINTS QUEUE COUNT".into());
    };
    let client = Client::new(Endpoint::parse_list(endpoints)?)?;
    let queue = Queue::new(client, name);
    for number in 1..=count.parse::<u32>()? {
        let mut task = NewTask::json(&json!({"to": format!("user{number}@example.org")}))?;
        // A second run adds nothing.
        task.dedupe_key = Some(format!("welcome-{number}"));
        let added = queue.enqueue(&task).await?;
        println!("task {}, duplicate: {}", added.id, added.duplicate);
    }
    Ok(())
}
