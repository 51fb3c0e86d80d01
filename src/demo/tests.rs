//! Demo data, created and completed after a restart.

use super::*;
use crate::testing::sqlite_server;

fn handout(services: &Services) -> Handout {
    read(&services.config.server.data_dir.join("demo.json")).expect("written")
}

#[tokio::test]
async fn the_demonstration_is_the_same_after_a_restart() {
    let server = sqlite_server().await;
    start(&server.services).await.expect("set up");
    let first = handout(&server.services);
    assert_eq!((first.people.len(), first.rooms.len()), (5, 3));
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata(server.services.config.server.data_dir.join("demo.json"))
            .expect("written"),
    );
    assert_eq!(mode & 0o777, 0o600);
    start(&server.services).await.expect("completed");
    let second = handout(&server.services);
    assert_eq!(
        second.lesson.id, first.lesson.id,
        "the lesson that runs is kept"
    );
    let (status, shelf) = server.client().get("/api/resources").await;
    assert_eq!(
        (status.as_u16(), &shelf["total"]),
        (200, &serde_json::json!(1)),
        "what is public, once: {shelf}"
    );
    for person in &second.people {
        let mut page = server.client();
        let form = serde_json::json!({ "login": person.login, "password": person.password });
        assert_eq!(
            page.post("/api/session", form).await.0,
            200,
            "{}",
            person.login
        );
    }
    for (before, after) in first.rooms.iter().zip(&second.rooms) {
        assert_eq!(before.url, after.url);
        let pass = after.url.rsplit('/').next().expect("a pass");
        let mut device = server.client();
        assert_eq!(
            device
                .post("/api/session/pass", serde_json::json!({ "pass": pass }))
                .await
                .0,
            200
        );
        let (_, today) = device.get("/api/today").await;
        let lessons = today["lessons"].as_array().expect("a list");
        assert!(
            lessons
                .iter()
                .any(|lesson| lesson["id"] == second.lesson.id.as_str()),
            "{today}"
        );
        assert_eq!(lessons.len(), 6);
    }
}

#[tokio::test]
async fn on_another_day_there_are_that_days_lessons() {
    let server = sqlite_server().await;
    let demo = community::set_up(&server.services, Handout::default())
        .await
        .expect("set up");
    let now = Timestamp::now();
    let today = lessons::plan_today(&server.services, &demo, now)
        .await
        .expect("planned");
    let later = now + jiff::SignedDuration::from_hours(24);
    let tomorrow = lessons::plan_today(&server.services, &demo, later)
        .await
        .expect("planned");
    assert_ne!(today.id, tomorrow.id);
    assert_eq!(
        lessons::plan_today(&server.services, &demo, later)
            .await
            .expect("planned")
            .id,
        tomorrow.id
    );
}

#[tokio::test]
async fn a_database_in_real_use_gets_no_demo_data() {
    let server = sqlite_server().await;
    server.person("wang", crate::identity::Role::Teacher).await;
    assert!(matches!(
        start(&server.services).await,
        Err(DemoError::InUse)
    ));
}
