//! Audit log: an append-only table of who changed, exported, deleted or watched what, from where.
//!
//! The HTTP layer writes one row per audited request, so a new route cannot forget it; a handler adds
//! what only it knows (a login, a role before and after) through [`Note`]. Every row also goes to the log
//! as one event of target `audit`, which `[log] format = "json"` hands to the county's collector.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::db::{Db, DbError, millis};

/// Window of the two bounds below.
const REFUSAL_WINDOW: Duration = Duration::from_secs(3600);
/// Entries per window that one address can cause without a session: enough to show a probe.
const MAX_REFUSALS_PER_ADDRESS: u32 = 20;
/// The same for all addresses together: at most 17 MB a year.
const MAX_REFUSALS: u32 = 1000;
/// Interval of deleting rows older than the retention.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// One audited request.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = AuditEntry)]
pub struct Entry {
    pub id: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// `person` or `classroom`; absent without a session.
    pub actor_kind: Option<String>,
    pub actor_id: Option<String>,
    pub actor_name: Option<String>,
    pub address: String,
    pub method: String,
    /// Pattern of the route.
    pub route: String,
    /// Path with its ids.
    pub path: String,
    pub status: i64,
    /// JSON object.
    pub detail: String,
}

/// Author of an audited request.
#[derive(Clone, Debug)]
pub struct Author {
    pub kind: &'static str,
    pub id: Uuid,
    pub name: String,
}

/// Facts that a handler adds to the entry of its request. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Note(Arc<Mutex<Facts>>);

#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub author: Option<Author>,
    /// Client address, behind trusted proxies the one that they name.
    pub address: Option<IpAddr>,
    pub detail: Map<String, Value>,
}

/// The note of the request. A request that is not audited gets one that nobody reads.
impl<S: Sync> FromRequestParts<S> for Note {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

impl Note {
    /// Adds a field to the entry's detail. Never a secret: administrators read it.
    pub fn add(&self, field: &str, value: impl Into<Value>) {
        let mut facts = self.0.lock().expect("never poisoned");
        facts.detail.insert(field.to_owned(), value.into());
    }

    /// Sets the client address.
    pub fn set_address(&self, address: IpAddr) {
        self.0.lock().expect("never poisoned").address = Some(address);
    }

    /// Sets the author: the session's, or the one whose session this request opens.
    pub fn set_author(&self, author: Author) {
        self.0.lock().expect("never poisoned").author = Some(author);
    }

    pub fn facts(&self) -> Facts {
        self.0.lock().expect("never poisoned").clone()
    }
}

/// Filter of a result page.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the actor's name or a login in the detail, or of the path.
    pub text: String,
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Bound of the entries that callers without a session can cause. Clones share it.
#[derive(Clone, Debug)]
pub struct RefusalLimit(Arc<Mutex<Refusals>>);

#[derive(Debug)]
struct Refusals {
    since: Instant,
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl RefusalLimit {
    pub fn new(now: Instant) -> Self {
        let (total, by_address) = Default::default();
        Self(Arc::new(Mutex::new(Refusals {
            since: now,
            total,
            by_address,
        })))
    }

    /// Counts a refused request; returns false if its entry would exceed a bound.
    pub fn allows(&self, address: IpAddr, now: Instant) -> bool {
        let mut refusals = self.0.lock().expect("never poisoned");
        if now.duration_since(refusals.since) >= REFUSAL_WINDOW {
            *refusals = Refusals {
                since: now,
                total: 0,
                by_address: HashMap::new(),
            };
        }
        if refusals.total >= MAX_REFUSALS {
            return false;
        }
        let of_address = refusals.by_address.entry(address).or_default();
        if *of_address >= MAX_REFUSALS_PER_ADDRESS {
            return false;
        }
        *of_address += 1;
        refusals.total += 1;
        true
    }
}

/// Appends an entry.
pub async fn append(db: &Db, entry: &Entry) -> Result<(), DbError> {
    tracing::info!(
        target: "audit",
        at = entry.at,
        actor.kind = entry.actor_kind,
        actor.id = entry.actor_id,
        actor.name = entry.actor_name,
        address = entry.address,
        method = entry.method,
        route = entry.route,
        path = entry.path,
        status = entry.status,
        detail = entry.detail,
        "audit"
    );
    sqlx::query(
        "INSERT INTO audit_log (id, at, actor_kind, actor_id, actor_name, address, method, route, path, status, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&entry.id)
    .bind(entry.at)
    .bind(&entry.actor_kind)
    .bind(&entry.actor_id)
    .bind(&entry.actor_name)
    .bind(&entry.address)
    .bind(&entry.method)
    .bind(&entry.route)
    .bind(&entry.path)
    .bind(entry.status)
    .bind(&entry.detail)
    .execute(db.pool())
    .await
    .map(drop)
}

const MATCHES: &str = "at >= $1 AND at < $2 AND ($3 = '' OR actor_name LIKE $4 ESCAPE '\\'
    OR detail LIKE $4 ESCAPE '\\' OR path LIKE $4 ESCAPE '\\' OR address LIKE $4 ESCAPE '\\')";

/// Returns a result page, newest first, and the number of all matches.
pub async fn list(
    db: &Db,
    filter: &Filter,
    skip: i64,
    most: i64,
) -> Result<(Vec<Entry>, i64), DbError> {
    let from = millis(filter.from.unwrap_or(Timestamp::UNIX_EPOCH));
    let until = millis(filter.until.unwrap_or(Timestamp::MAX));
    let escaped = filter
        .text
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    let pattern = format!("%{escaped}%");
    let query = format!(
        "SELECT id, at, actor_kind, actor_id, actor_name, address, method, route, path, status, detail
         FROM audit_log WHERE {MATCHES} ORDER BY at DESC, id DESC LIMIT $5 OFFSET $6"
    );
    let entries = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(from)
        .bind(until)
        .bind(&filter.text)
        .bind(&pattern)
        .bind(most)
        .bind(skip)
        .fetch_all(db.pool())
        .await?;
    let count = format!("SELECT COUNT(*) FROM audit_log WHERE {MATCHES}");
    let (total,): (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(count))
        .bind(from)
        .bind(until)
        .bind(&filter.text)
        .bind(&pattern)
        .fetch_one(db.pool())
        .await?;
    Ok((entries, total))
}

/// Deletes entries older than the retention, once an hour.
pub async fn keep_retention(db: Db, keep_days: u32) {
    loop {
        let oldest = Timestamp::now() - SignedDuration::from_hours(24 * i64::from(keep_days));
        if let Err(error) = delete_before(&db, oldest).await {
            tracing::warn!(%error, "old audit entries could not be deleted");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

async fn delete_before(db: &Db, oldest: Timestamp) -> Result<(), DbError> {
    sqlx::query("DELETE FROM audit_log WHERE at < $1")
        .bind(millis(oldest))
        .execute(db.pool())
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::databases;

    fn entry(at: i64, name: &str, detail: &str) -> Entry {
        Entry {
            id: Uuid::now_v7().to_string(),
            at,
            actor_kind: Some("person".into()),
            actor_id: Some(Uuid::now_v7().to_string()),
            actor_name: Some(name.into()),
            address: "10.0.0.7".into(),
            method: "DELETE".into(),
            route: "/api/people/{id}".into(),
            path: "/api/people/1".into(),
            status: 204,
            detail: detail.into(),
        }
    }

    #[test]
    fn strangers_cannot_fill_the_log() {
        let now = Instant::now();
        let limit = RefusalLimit::new(now);
        let from = |n: u32| IpAddr::from(n.to_be_bytes());
        let written = |address, at| (0..100).filter(|_| limit.allows(address, at)).count() as u32;
        assert_eq!(written(from(1), now), MAX_REFUSALS_PER_ADDRESS);
        let others: u32 = (2..1000).map(|n| written(from(n), now)).sum();
        assert_eq!(others, MAX_REFUSALS - MAX_REFUSALS_PER_ADDRESS);
        assert!(
            limit.allows(from(1), now + REFUSAL_WINDOW),
            "the next window"
        );
    }

    #[tokio::test]
    async fn entries_are_filtered_paged_and_deleted_after_the_retention() {
        for (db, _folder) in databases().await {
            for (at, name, detail) in [
                (1_000, "王老师", "{}"),
                (2_000, "李老师", r#"{"login":"50%_off"}"#),
                (3_000, "王老师", "{}"),
            ] {
                append(&db, &entry(at, name, detail))
                    .await
                    .expect("written");
            }
            let ask = async |text: &str, skip| {
                let filter = Filter {
                    text: text.into(),
                    ..Filter::default()
                };
                list(&db, &filter, skip, 2).await.expect("read")
            };
            let (page, total) = ask("", 0).await;
            assert_eq!((page.len(), total, page[0].at), (2, 3, 3_000));
            assert_eq!(ask("", 2).await.0[0].at, 1_000);
            assert_eq!(ask("王", 0).await.1, 2);
            assert_eq!(ask("50%_off", 0).await.1, 1);
            assert_eq!(
                ask("5%off", 0).await.1,
                0,
                "wildcards of the user are plain text"
            );
            delete_before(&db, crate::db::time(2_500))
                .await
                .expect("deleted");
            assert_eq!(ask("", 0).await.1, 1);
        }
    }
}
