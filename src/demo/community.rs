//! Schools, people, classrooms and timetable of the demo. All names are invented.

use crate::db::DbError;
use crate::error::Result;
use crate::http::Services;
use crate::identity::{self, NewPerson, Role, secret};
use crate::ids::{ClassroomId, PersonId, SchoolId};
use crate::schools::{self, Membership, NewClassroom, NewCommunity, NewSchool, SchoolRole};
use crate::timetable::{self, CreateSeries, PeriodForm, TermForm};

use super::{DemoError, Handout, Room, SignIn};

/// Ids that the demo lessons refer to.
#[derive(Clone)]
pub struct Community {
    pub handout: Handout,
    /// 王雪梅 and 陈志远.
    pub leads: [PersonId; 2],
    pub assistant: PersonId,
    /// 录播教室, 柳林村小学三年级, 石桥村小学三年级.
    pub rooms: [ClassroomId; 3],
}

const CORE: usize = 0;
const SCHOOLS: [(&str, SchoolRole, Option<Membership>); 3] = [
    ("清河县第一实验小学", SchoolRole::Core, None),
    ("柳林村小学", SchoolRole::Member, Some(Membership::Close)),
    ("石桥村小学", SchoolRole::Member, Some(Membership::Allied)),
];

/// Name, login, role, index of the school, and the role as shown to a visitor.
const PEOPLE: [(&str, &str, Role, Option<usize>, &str); 5] = [
    (
        "王雪梅",
        "wangxuemei",
        Role::Teacher,
        Some(CORE),
        "主讲教师",
    ),
    (
        "陈志远",
        "chenzhiyuan",
        Role::Teacher,
        Some(CORE),
        "主讲教师",
    ),
    ("李小燕", "lixiaoyan", Role::Teacher, Some(1), "助教"),
    (
        "赵国栋",
        "zhaoguodong",
        Role::Observer,
        None,
        "教研员（旁听）",
    ),
    ("周敏", "zhoumin", Role::Administrator, None, "管理员"),
];

const ROOMS: [(&str, usize); 3] = [
    ("录播教室", CORE),
    ("柳林村小学三年级", 1),
    ("石桥村小学三年级", 2),
];

const PERIODS: [(&str, &str, &str); 6] = [
    ("第一节", "08:20", "09:00"),
    ("第二节", "09:10", "09:50"),
    ("第三节", "10:20", "11:00"),
    ("第四节", "11:10", "11:50"),
    ("第五节", "14:00", "14:40"),
    ("第六节", "14:50", "15:30"),
];

/// Name, subject, weekday, index of the period, index of the lead.
const SERIES: [(&str, &str, i8, usize, usize); 3] = [
    ("三年级语文专递课堂", "语文", 1, 1, 0),
    ("三年级数学专递课堂", "数学", 3, 2, 1),
    ("三年级语文专递课堂（阅读）", "语文", 4, 0, 0),
];

/// Returns true if the database has people already.
pub async fn is_in_use(services: &Services) -> Result<bool, DbError> {
    let found: Option<(i64,)> = sqlx::query_as("SELECT CAST(1 AS BIGINT) FROM people LIMIT 1")
        .fetch_optional(services.db.pool())
        .await?;
    Ok(found.is_some())
}

/// Adds missing rows, and replaces the password or pass of everyone whose secret `before` lacks.
pub async fn set_up(services: &Services, before: Handout) -> Result<Community, DemoError> {
    let base_url = services.config.public_url();
    let schools = set_up_schools(services).await?;
    let mut handout = Handout {
        base_url: base_url.clone(),
        ..Handout::default()
    };
    let mut people = Vec::new();
    for (name, login, role, school, title) in PEOPLE {
        let known = before
            .people
            .iter()
            .find(|person| person.login == login)
            .map(|person| person.password.clone());
        let new = NewPerson {
            school: school.map(|n| schools[n]),
            name: name.into(),
            login: login.into(),
            role,
        };
        let (id, password) = person(services, new, known).await?;
        people.push(id);
        handout.people.push(SignIn {
            name: name.into(),
            login: login.into(),
            password,
            role: title.into(),
        });
    }
    let mut rooms = Vec::new();
    for (name, school) in ROOMS {
        let known = before
            .rooms
            .iter()
            .find(|room| room.name == name)
            .and_then(|room| room.url.rsplit('/').next());
        let (id, pass) = room(services, name, schools[school], known).await?;
        rooms.push(id);
        handout.rooms.push(Room {
            name: name.into(),
            url: format!("{base_url}/room/{pass}"),
        });
    }
    let community = Community {
        handout,
        leads: [people[0], people[1]],
        assistant: people[2],
        rooms: [rooms[0], rooms[1], rooms[2]],
    };
    set_up_timetable(services, &community).await?;
    Ok(community)
}

async fn set_up_schools(services: &Services) -> Result<Vec<SchoolId>> {
    let present: Vec<(SchoolId, String)> =
        sqlx::query_as("SELECT id, name FROM schools WHERE removed_at IS NULL")
            .fetch_all(services.db.pool())
            .await?;
    let found = |name: &str| present.iter().find(|(_, n)| n == name).map(|(id, _)| *id);
    let mut community = None;
    let mut ids = Vec::new();
    for (name, role, membership) in SCHOOLS {
        if let Some(id) = found(name) {
            ids.push(id);
            continue;
        }
        if community.is_none() {
            let new = NewCommunity {
                name: "清河县第一实验小学教育共同体".into(),
                county: "清河县".into(),
            };
            community = Some(schools::add_community(&services.db, new).await?.id);
        }
        let new = NewSchool {
            community_id: community,
            name: name.into(),
            role,
            membership,
        };
        ids.push(schools::add_school(&services.db, new).await?.id);
    }
    Ok(ids)
}

async fn person(
    services: &Services,
    new: NewPerson,
    known: Option<String>,
) -> Result<(PersonId, String)> {
    let present: Option<(PersonId, String)> =
        sqlx::query_as("SELECT id, password_hash FROM people WHERE login = $1")
            .bind(&new.login)
            .fetch_optional(services.db.pool())
            .await?;
    let Some((id, hash)) = present else {
        let password = secret::password();
        return Ok((
            identity::add_person(&services.identity, new, password.clone()).await?,
            password,
        ));
    };
    if let Some(known) = known
        && services
            .identity
            .hasher
            .verify(known.clone(), Some(hash))
            .await?
    {
        return Ok((id, known));
    }
    let password = secret::password();
    let hash = services.identity.hasher.hash(password.clone()).await?;
    sqlx::query("UPDATE people SET password_hash = $2 WHERE id = $1")
        .bind(id)
        .bind(hash)
        .execute(services.db.pool())
        .await?;
    Ok((id, password))
}

async fn room(
    services: &Services,
    name: &str,
    school: SchoolId,
    known: Option<&str>,
) -> Result<(ClassroomId, String)> {
    let present: Option<(ClassroomId,)> = sqlx::query_as(
        "SELECT id FROM classrooms WHERE name = $1 AND school_id = $2 AND removed_at IS NULL",
    )
    .bind(name)
    .bind(school)
    .fetch_optional(services.db.pool())
    .await?;
    let id = match present {
        Some((id,)) => id,
        None => {
            schools::add_classroom(
                &services.db,
                NewClassroom {
                    school_id: school,
                    name: name.into(),
                },
            )
            .await?
        }
    };
    if let Some(pass) = known
        && identity::session::classroom_of_pass(&services.db, pass).await? == Some(id)
    {
        return Ok((id, pass.to_owned()));
    }
    Ok((id, schools::new_pass(&services.db, id).await?))
}

/// Creates a term around today, periods and a few series, unless a term exists.
async fn set_up_timetable(services: &Services, community: &Community) -> Result<()> {
    let present: Option<(String,)> = sqlx::query_as("SELECT id FROM terms LIMIT 1")
        .fetch_optional(services.db.pool())
        .await?;
    if present.is_some() {
        return Ok(());
    }
    let zone = services.config.time_zone();
    let today = timetable::today(&zone, jiff::Timestamp::now());
    let day = |days: i64| {
        today
            .saturating_add(jiff::Span::new().days(days))
            .to_string()
    };
    let term = TermForm {
        name: "本学期".into(),
        starts_on: day(-60),
        ends_on: day(60),
    };
    let term = timetable::insert_term(&services.db, term).await?;
    let mut periods = Vec::new();
    for (name, starts, ends) in PERIODS {
        let form = PeriodForm {
            name: name.into(),
            starts: starts.into(),
            ends: ends.into(),
        };
        periods.push(timetable::insert_period(&services.db, form).await?.id);
    }
    for (name, subject, weekday, period, lead) in SERIES {
        let series = CreateSeries {
            name: name.into(),
            subject: subject.into(),
            grade: "三年级".into(),
            term_id: term.id,
            weekday,
            period_id: periods[period],
            lead_id: community.leads[lead],
            assistant_ids: vec![community.assistant],
            lead_classroom_id: Some(community.rooms[0]),
            classroom_ids: community.rooms[1..].to_vec(),
        };
        timetable::insert_series(&services.db, series, &zone).await?;
    }
    Ok(())
}
