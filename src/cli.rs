//! Command line. `tongke` without a command serves.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, LoadError};

/// Tongke 同课: live lessons across schools.
#[derive(Debug, Parser)]
#[command(name = "tongke", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (also without a command).
    Serve(Serve),
    /// Inspect the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a fresh one-time link that creates the first administrator.
    AdminLink(Source),
    /// Maintain the search index.
    #[command(subcommand)]
    Search(SearchCommand),
    /// Publish to and play from any WHIP and WHEP server, and measure it.
    Load(tongke_load::Args),
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Validate the configuration.
    Check(Source),
}

#[derive(Debug, Subcommand)]
pub enum SearchCommand {
    /// Rebuild the search index while the server answers from the old one.
    Rebuild(Source),
}

/// Sources of the configuration.
#[derive(Clone, Debug, Default, Args)]
pub struct Source {
    /// Configuration file (deploy/config.toml is the manual). Without it the defaults run.
    #[arg(long, value_name = "FILE", env = "TONGKE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data directory; overrides [server] data_dir.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Args)]
pub struct Serve {
    #[command(flatten)]
    pub source: Source,
    /// Address and port; overrides [server] listen.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Fill the data directory with a demonstration: schools, people with random passwords, today's lessons.
    #[arg(long)]
    pub demo: bool,
}

impl Source {
    /// Loads the configuration and applies the command line's overrides.
    pub fn load(&self) -> Result<Config, LoadError> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(data) = &self.data {
            config.server.data_dir.clone_from(data);
        }
        Ok(config)
    }
}

impl Serve {
    /// Loads the configuration and applies the command line's overrides.
    pub fn load(&self) -> Result<Config, LoadError> {
        let mut config = self.source.load()?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_line_overrides_the_file() {
        let cli = Cli::try_parse_from(["tongke", "serve", "--listen", "0.0.0.0:9", "--data", "/x"])
            .expect("parses");
        let Some(Command::Serve(serve)) = cli.command else {
            panic!("serve was named")
        };
        let config = serve.load().expect("loads");
        assert_eq!(
            (config.server.listen.port(), config.server.data_dir),
            (9, "/x".into())
        );
    }
}
