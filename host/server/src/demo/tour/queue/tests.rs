use serde_json::json;

use super::{QueueCounts, TourWork};
use crate::demo::screen::Screen;
use crate::demo::stop::Stop;
use crate::demo::tests::{guest, start};
use crate::demo::tour::steps::elect;
use crate::settings::GuestSource;

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_task_fails_the_tour() {
    let cluster = start(1, GuestSource::BuiltInQueue).await;
    let mut screen = Screen::new(std::io::sink(), "oarlock".to_owned());
    elect(&cluster, &mut screen).await.unwrap();
    let mut work = TourWork::begin(&cluster, &mut screen).await.unwrap();
    work.check_nothing_is_lost(&cluster, &mut screen)
        .await
        .unwrap();
    // The right number of tasks, with one wrong id.
    let id = std::mem::replace(&mut work.kept[0], 999);
    let missing = work
        .check_nothing_is_lost(&cluster, &mut screen)
        .await
        .unwrap_err();
    assert!(
        matches!(&missing, Stop::Failed(failure) if failure.to_string().contains("999")),
        "{missing:?}"
    );
    // The right ids, with one task too few.
    work.kept[0] = id;
    work.before += 1;
    let fewer = work
        .check_nothing_is_lost(&cluster, &mut screen)
        .await
        .unwrap_err();
    assert!(
        matches!(&fewer, Stop::Failed(failure) if failure.code() == 1),
        "{fewer:?}"
    );
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_rejects_the_commands_fails_the_tour() {
    let cluster = start(1, guest("kv")).await;
    let mut screen = Screen::new(std::io::sink(), "oarlock".to_owned());
    elect(&cluster, &mut screen).await.unwrap();
    let refused = TourWork::begin(&cluster, &mut screen).await.unwrap_err();
    assert!(matches!(refused, Stop::Failed(_)), "{refused:?}");
    cluster.shutdown().await.unwrap();
}

#[test]
fn tasks_in_all_states_are_counted() {
    let stats = json!({"queues": {
        "demo": {"ready": 1, "delayed": 2, "leased": 3, "dead": 4, "completed": 5},
        "other": {"ready": 100, "delayed": 0, "leased": 0, "dead": 0, "completed": 0},
    }});
    assert_eq!(
        QueueCounts::of(&stats),
        QueueCounts {
            waiting: 10,
            completed: 5
        }
    );
    assert_eq!(QueueCounts::of(&json!({"queues": {}})).total(), 0);
}
