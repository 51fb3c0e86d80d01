//! Loads the configuration: defaults, then the file, then the environment. Unknown keys are errors.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, TlsMode};

/// Prefix of our environment variables; `__` separates a section from its key.
const PREFIX: &str = "TONGKE_";

/// Invalid configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        path: PathBuf,
        cause: std::io::Error,
    },
    #[error("{origin} is not valid TOML: {cause}")]
    Syntax {
        origin: String,
        cause: toml::de::Error,
    },
    #[error("{origin} has no setting `{key}`{}", nearest.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownKey {
        origin: String,
        key: String,
        nearest: Option<String>,
    },
    #[error("a setting has a wrong value: {0}")]
    Value(toml::de::Error),
    #[error("{key}: {problem}")]
    Check { key: &'static str, problem: String },
}

impl Config {
    /// Loads the defaults, the file if one is named, and the environment of the process.
    pub fn load(file: Option<&Path>) -> Result<Self, LoadError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path).map_err(|cause| LoadError::Read {
                path: path.into(),
                cause,
            })?,
            None => String::new(),
        };
        let origin = file.map_or_else(
            || "the configuration".to_owned(),
            |path| path.display().to_string(),
        );
        Self::from_parts(&origin, &text, std::env::vars())
    }

    /// Loads from values; `origin` names the file in error messages.
    pub fn from_parts(
        origin: &str,
        file: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, LoadError> {
        let mut settings =
            Table::try_from(Self::default()).expect("the defaults are plain TOML values");
        let file: Table = file.parse().map_err(|cause| LoadError::Syntax {
            origin: origin.into(),
            cause,
        })?;
        merge_file(&mut settings, file, origin)?;
        for (name, value) in environment {
            // Names without `__` are not settings; the command line and scripts use them.
            if let Some((section, key)) = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.split_once("__"))
            {
                merge_variable(&mut settings, &name, section, key, &value)?;
            }
        }
        let config: Self = settings.try_into().map_err(LoadError::Value)?;
        config.check()?;
        Ok(config)
    }

    /// Validates constraints that the types do not express.
    fn check(&self) -> Result<(), LoadError> {
        let problem = |key, problem: &str| {
            Err(LoadError::Check {
                key,
                problem: problem.to_owned(),
            })
        };
        if self.tls.mode == TlsMode::Files && (self.tls.cert.is_empty() || self.tls.key.is_empty())
        {
            return problem("tls", "mode \"files\" needs both `cert` and `key`");
        }
        if jiff::tz::TimeZone::get(&self.server.time_zone).is_err() {
            return problem(
                "server.time_zone",
                "is not the name of a time zone, such as \"Asia/Shanghai\"",
            );
        }
        if self.database.connections == 0 {
            return problem("database.connections", "must be at least 1");
        }
        if self.audit.keep_days < 180 {
            return problem("audit.keep_days", "must be at least 180 (six months)");
        }
        if self.limits.sign_in_tries == 0
            || self.limits.request_seconds == 0
            || self.limits.body_bytes == 0
        {
            return problem("limits", "must not be 0");
        }
        if !(15_000_000..=2_000_000_000).contains(&self.search.heap_bytes) {
            return problem(
                "search.heap_bytes",
                "must be between 15000000 and 2000000000",
            );
        }
        if !(500..=10_000).contains(&self.recording.segment_ms) {
            return problem("recording.segment_ms", "must be between 500 and 10000");
        }
        Ok(())
    }
}

fn merge_file(settings: &mut Table, file: Table, origin: &str) -> Result<(), LoadError> {
    for (section, values) in file {
        let known = find(settings, &section, &section, origin)?;
        let (Value::Table(known), Value::Table(values)) = (known, values) else {
            return Err(LoadError::UnknownKey {
                origin: origin.into(),
                key: section,
                nearest: None,
            });
        };
        for (key, value) in values {
            *find(known, &key, &format!("{section}.{key}"), origin)? = value;
        }
    }
    Ok(())
}

fn merge_variable(
    settings: &mut Table,
    name: &str,
    section: &str,
    key: &str,
    value: &str,
) -> Result<(), LoadError> {
    let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
    let known = find(settings, &section, &section, name)?
        .as_table_mut()
        .expect("all top-level keys are sections");
    let slot = find(known, &key, &format!("{section}.{key}"), name)?;
    *slot = parse_like(slot, value);
    Ok(())
}

/// Parses a variable as the TOML type of the current value; deserialization reports mismatches.
fn parse_like(current: &Value, text: &str) -> Value {
    let text_value = || Value::String(text.to_owned());
    match current {
        Value::String(_) => text_value(),
        Value::Array(_) if !text.trim_start().starts_with('[') => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(Value::from)
                .collect(),
        ),
        _ => format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut t| t.remove("value"))
            .unwrap_or_else(text_value),
    }
}

fn find<'a>(
    table: &'a mut Table,
    key: &str,
    full: &str,
    origin: &str,
) -> Result<&'a mut Value, LoadError> {
    if !table.contains_key(key) {
        let nearest = nearest(key, table.keys()).map(|near| match full.rsplit_once('.') {
            Some((section, last)) if last == key => format!("{section}.{near}"),
            _ => near,
        });
        return Err(LoadError::UnknownKey {
            origin: origin.into(),
            key: full.into(),
            nearest,
        });
    }
    Ok(table.get_mut(key).expect("looked up above"))
}

/// Returns the known name most similar to `key`, if any is similar enough.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    known
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity > 0.6)
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../deploy/config.toml");

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, LoadError> {
        let environment = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::from_parts("config.toml", file, environment)
    }

    #[test]
    fn the_manual_contains_the_defaults() {
        assert_eq!(
            load(MANUAL, &[]).expect("the manual parses"),
            Config::default()
        );
    }

    #[test]
    fn the_manual_names_every_setting() {
        let manual: Table = MANUAL.parse().expect("the manual parses");
        let all = Table::try_from(Config::default()).expect("plain values");
        for (section, keys) in &all {
            for key in keys.as_table().expect("a section").keys() {
                assert!(
                    manual.get(section).and_then(|s| s.get(key)).is_some(),
                    "the manual lacks {section}.{key}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
        let error = load("[server]\nlisen = \"0.0.0.0:80\"", &[])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "config.toml has no setting `server.lisen`; did you mean `server.listen`?"
        );
        let error = load("[databse]\nurl = \"\"", &[]).unwrap_err().to_string();
        assert!(error.contains("did you mean `database`?"), "{error}");
        let error = load("", &[("TONGKE_MEDIA__PORTS", "9000")])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "TONGKE_MEDIA__PORTS has no setting `media.ports`; did you mean `media.port`?"
        );
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let environment = [
            ("TONGKE_SERVER__LISTEN", "0.0.0.0:9000"),
            ("TONGKE_MEDIA__ADVERTISE", "10.0.0.7, 127.0.0.1"),
            ("TONGKE_STORAGE__PATH_STYLE", "false"),
            ("TONGKE_TLS__MODE", "self_signed"),
        ];
        let config =
            load("[server]\nlisten = \"127.0.0.1:1\"", &environment).expect("all are settings");
        assert_eq!(config.server.listen.port(), 9000);
        assert_eq!(config.media.advertise.len(), 2);
        assert!(!config.storage.path_style);
        assert_eq!(config.public_url(), "https://127.0.0.1:9000");
    }

    #[test]
    fn every_shard_has_a_port_of_its_own() {
        let mut config = Config::default();
        (config.media.port, config.media.shards) = (65_534, 4);
        let ports = |config: &Config| {
            config
                .shard_addresses()
                .iter()
                .map(|a| a.port())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ports(&config),
            [65_534, 65_535],
            "65535 is the highest port"
        );
        (config.media.port, config.media.shards) = (0, 2);
        assert_eq!(ports(&config), [0, 0], "the system chooses");
    }

    #[test]
    fn an_invalid_value_is_named_in_the_error() {
        let error = load("", &[("TONGKE_MEDIA__PORT", "many")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("port"), "{error}");
        assert!(
            load("[tls]\nmode = \"files\"", &[])
                .unwrap_err()
                .to_string()
                .contains("cert")
        );
        assert!(load("[server]\ntime_zone = \"Asia/Nowhere\"", &[]).is_err());
    }
}
