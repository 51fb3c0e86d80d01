//! Limits of an upload, checked when it is created: file size, quotas of person and school, free
//! disk space.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use axum::http::StatusCode;

use crate::config;
use crate::db::{Db, millis};
use crate::error::{Error, Result, Text};
use crate::extract::now;
use crate::identity::Actor;
use crate::ids::{PersonId, SchoolId};

/// Unfinished uploads of one person; a client may create one for each file of a large folder.
const MAX_UNFINISHED: i64 = 2000;

/// Rejects an upload that exceeds a limit.
pub async fn check(
    db: &Db,
    limits: &config::Library,
    folder: &Path,
    actor: &Actor,
    size_bytes: u64,
) -> Result<()> {
    if size_bytes == 0 {
        return Err(Error::field(
            "size",
            "文件是空的，没有内容可以上传。",
            "The file is empty.",
        ));
    }
    if size_bytes > limits.max_file_bytes {
        return Err(over_limit(
            "file_too_large",
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "文件有 {}，单个文件最大 {}。",
                human_size(size_bytes),
                human_size(limits.max_file_bytes)
            ),
            format!(
                "The file has {}; a file may have at most {}.",
                human_size(size_bytes),
                human_size(limits.max_file_bytes)
            ),
        ));
    }
    let person = PersonId(actor.id());
    let (pending, unfinished) = pending(db, person).await?;
    if unfinished >= MAX_UNFINISHED {
        return Err(Error::conflict(
            "too_many_uploads",
            "您还有太多未完成的上传，请先完成或取消一些。",
            "You have too many unfinished uploads. Finish or cancel some first.",
        ));
    }
    let left = limits
        .person_quota_bytes
        .saturating_sub(used_by_person(db, person).await? + pending);
    check_quota(size_bytes, left, "quota_exceeded", "您的空间", "Your space")?;
    if let Some(school) = actor.school() {
        let left = limits
            .school_quota_bytes
            .saturating_sub(used_by_school(db, school.id).await? + pending);
        check_quota(
            size_bytes,
            left,
            "school_quota_exceeded",
            "贵校的空间",
            "Your school's space",
        )?;
    }
    let left = free_bytes(folder)
        .map_err(Error::internal)?
        .saturating_sub(limits.min_free_bytes + pending);
    if size_bytes > left {
        return Err(disk_full());
    }
    Ok(())
}

fn check_quota(
    size_bytes: u64,
    left: u64,
    code: &'static str,
    whose_zh: &str,
    whose_en: &str,
) -> Result<()> {
    if size_bytes <= left {
        return Ok(());
    }
    let (size, left) = (human_size(size_bytes), human_size(left));
    Err(over_limit(
        code,
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "{whose_zh}还剩 {left}，放不下这个 {size} 的文件。可以删除不再需要的资源，或请管理员增加空间。"
        ),
        format!(
            "{whose_en} has {left} left, too little for this file of {size}. Remove what is not needed, or ask the administrator for more."
        ),
    ))
}

fn over_limit(code: &'static str, status: StatusCode, zh: String, en: String) -> Error {
    Error::Prescribed {
        status,
        code,
        text: Text::with(zh, en),
    }
}

/// Error for a full disk; the received bytes are kept.
pub fn disk_full() -> Error {
    Error::Prescribed {
        status: StatusCode::INSUFFICIENT_STORAGE,
        code: "disk_full",
        text: Text::new(
            "服务器的磁盘空间不足，请联系管理员。已上传的部分会保留。",
            "The server's disk is full. Tell the administrator; what was sent so far is kept.",
        ),
    }
}

/// Returns the total size and the number of a person's unfinished uploads.
async fn pending(db: &Db, person: PersonId) -> Result<(u64, i64)> {
    let (bytes, count): (i64, i64) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT), COUNT(*) FROM uploads
         WHERE person_id = $1 AND resource_id IS NULL AND expires_at > $2",
    )
    .bind(person)
    .bind(millis(now()))
    .fetch_one(db.pool())
    .await?;
    Ok((bytes.max(0) as u64, count))
}

/// Returns the bytes of content that a person's resources refer to, each content counted once.
pub async fn used_by_person(db: &Db, person: PersonId) -> Result<u64> {
    let (bytes,): (i64,) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) FROM blobs b WHERE b.hash IN (
            SELECT v.hash FROM resource_versions v JOIN resources r ON r.id = v.resource_id
            WHERE r.owner_id = $1 AND r.removed_at IS NULL)",
    )
    .bind(person)
    .fetch_one(db.pool())
    .await?;
    Ok(bytes.max(0) as u64)
}

/// Returns the bytes of content that a school's resources refer to, each content counted once.
pub async fn used_by_school(db: &Db, school: SchoolId) -> Result<u64> {
    let (bytes,): (i64,) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) FROM blobs b WHERE b.hash IN (
            SELECT v.hash FROM resource_versions v JOIN resources r ON r.id = v.resource_id
            WHERE r.school_id = $1 AND r.removed_at IS NULL)",
    )
    .bind(school)
    .fetch_one(db.pool())
    .await?;
    Ok(bytes.max(0) as u64)
}

/// Formats a size with a decimal unit.
pub fn human_size(bytes: u64) -> String {
    const UNITS: [(&str, f64); 3] = [("GB", 1e9), ("MB", 1e6), ("KB", 1e3)];
    let found = UNITS.iter().find(|(_, unit)| bytes as f64 >= *unit);
    match found {
        Some((name, unit)) => {
            // Rounds down, so that at least "1.9 GB left" is free.
            let tenths = (bytes as f64 / unit * 10.0).floor() / 10.0;
            format!("{tenths} {name}")
        }
        None => format!("{bytes} B"),
    }
}

/// Returns the bytes that an unprivileged process may still write to the folder's file system.
fn free_bytes(folder: &Path) -> io::Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: all-zero bytes are a valid `statvfs`, and the call fills it or fails.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &mut stat) != 0 {
            return Err(io::Error::last_os_error());
        }
        stat
    };
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_never_rounded_up() {
        assert_eq!(human_size(999), "999 B");
        assert_eq!(human_size(2_000_000_000), "2 GB");
        assert_eq!(human_size(1_999_999_999), "1.9 GB");
        assert_eq!(human_size(15_360), "15.3 KB");
    }

    #[test]
    fn free_disk_space_is_reported() {
        assert!(free_bytes(Path::new("/")).expect("asked") > 0);
    }
}
