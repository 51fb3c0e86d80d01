//! Demo data (`--demo`): one county with a core school and two village schools, a timetable with a
//! lesson running at any hour, a few sheets and a deck in the library. Passwords are random per data
//! directory, printed and kept in `demo.json` (mode 0600), nowhere else.

mod community;
mod deck;
mod lessons;
mod shelf;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::http::Services;

/// Interval of the check that a lesson is running.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// Errors of setting up the demo data.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the data directory is in real use; choose an empty one with --data")]
    InUse,
    #[error("cannot write demo.json: {0}")]
    Write(#[from] io::Error),
    #[error(transparent)]
    Server(#[from] Error),
}

impl From<crate::db::DbError> for DemoError {
    fn from(error: crate::db::DbError) -> Self {
        Self::Server(error.into())
    }
}

/// Contents of `demo.json`: everything that a visitor or a browser test needs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Handout {
    pub base_url: String,
    pub people: Vec<SignIn>,
    pub rooms: Vec<Room>,
    pub lesson: Lesson,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignIn {
    pub name: String,
    pub login: String,
    pub password: String,
    pub role: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Room {
    pub name: String,
    pub url: String,
}

/// The lesson that is running now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Lesson {
    pub id: String,
    pub title: String,
}

/// Creates or completes the demo data and keeps a lesson running by the clock.
pub async fn start(services: &Services) -> Result<(), DemoError> {
    let path = services.config.server.data_dir.join("demo.json");
    let before = read(&path);
    if before.is_none() && community::is_in_use(services).await? {
        return Err(DemoError::InUse);
    }
    let community = community::set_up(services, before.unwrap_or_default()).await?;
    shelf::fill(services, &community).await?;
    let mut handout = community.handout.clone();
    handout.lesson = lessons::plan_today(services, &community, Timestamp::now()).await?;
    write(&path, &handout)?;
    print(&handout);
    let services = services.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            match lessons::plan_today(&services, &community, Timestamp::now()).await {
                Ok(lesson) if lesson.id == handout.lesson.id => {}
                Ok(lesson) => {
                    handout.lesson = lesson;
                    if let Err(error) = write(&path, &handout) {
                        tracing::warn!(%error, "demo.json could not be written");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the demonstration's next lessons could not be planned")
                }
            }
        }
    });
    Ok(())
}

fn read(path: &Path) -> Option<Handout> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes the file atomically, with mode 0600.
fn write(path: &Path, handout: &Handout) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(handout)?)?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

fn print(handout: &Handout) {
    println!("\n演示环境 · 密码随机生成，保存在数据目录的 demo.json 中");
    println!("  打开  {}", handout.base_url);
    for person in &handout.people {
        println!(
            "  {:<14} {}  {}（{}）",
            person.login, person.password, person.name, person.role
        );
    }
    println!("  教室地址（在教室的大屏上打开，无需登录）：");
    for room in &handout.rooms {
        println!("  {}  {}", room.url, room.name);
    }
    println!("  正在进行的课：{}\n", handout.lesson.title);
}
