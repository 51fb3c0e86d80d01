//! The demonstration (`--demo`): one county with a core school and two village schools, and lessons in today's timetable so that one
//! is running at any hour, and a few sheets and a deck on the shelf. Passwords are random per data directory; they are printed and kept in `demo.json` (mode 0600), nowhere else.

mod deck;
mod house;
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

/// How often it is checked that a lesson is running.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// Why the demonstration cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the data directory holds a real house; choose an empty one with --data")]
    RealHouse,
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

/// What `demo.json` holds: all that a visitor, or a browser test, needs.
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

/// Sets the house up, or takes it up again, and keeps a lesson running by the clock.
pub async fn start(services: &Services) -> Result<(), DemoError> {
    let path = services.config.server.data_dir.join("demo.json");
    let before = read(&path);
    if before.is_none() && house::is_inhabited(services).await? {
        return Err(DemoError::RealHouse);
    }
    let house = house::set_up(services, before.unwrap_or_default()).await?;
    shelf::fill(services, &house).await?;
    let mut handout = house.handout.clone();
    handout.lesson = lessons::plan_today(services, &house, Timestamp::now()).await?;
    write(&path, &handout)?;
    print(&handout);
    let services = services.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            match lessons::plan_today(&services, &house, Timestamp::now()).await {
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

/// Whole or not at all, and readable by us alone.
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
