//! Where a setting comes from: flag, then environment, then configuration
//! file, then default. Flags and environment are read by `cli`; this is the
//! file, and the defaults stand beside their uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::cli::{ByteSize, ProgressWhen, parse_duration};
use crate::exit::{Code, Failure};
use dfs_core::env::Durability;
use dfs_core::policy::{Compression, ParitySpec, PlacementStrategy};

/// The largest configuration file, in bytes.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// The configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// For verbs that ask a cluster.
    pub(crate) client: ClientSettings,
    /// For `node`.
    pub(crate) node: NodeSettings,
    /// For `coord` and `up`.
    pub(crate) coord: CoordSettings,
}

/// `[client]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct ClientSettings {
    /// Where the coordinator listens.
    pub(crate) coord: Option<String>,
    /// How long to try again.
    #[serde(deserialize_with = "duration")]
    pub(crate) retry_for: Option<Duration>,
    /// When progress is shown.
    pub(crate) progress: Option<ProgressWhen>,
}

/// `[node]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct NodeSettings {
    pub(crate) id: Option<String>,
    pub(crate) listen: Option<String>,
    pub(crate) advertise: Option<String>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) join: Option<String>,
    pub(crate) zone: Option<String>,
    #[serde(deserialize_with = "parsed")]
    pub(crate) capacity: Option<ByteSize>,
    #[serde(deserialize_with = "durability")]
    pub(crate) durability: Option<Durability>,
}

/// `[coord]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct CoordSettings {
    pub(crate) nodes: Option<Vec<String>>,
    pub(crate) listen: Option<String>,
    pub(crate) advertise: Option<String>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) replication: Option<u8>,
    #[serde(deserialize_with = "parsed")]
    pub(crate) parity: Option<ParitySpec>,
    #[serde(deserialize_with = "parsed")]
    pub(crate) compression: Option<Compression>,
    #[serde(deserialize_with = "parsed")]
    pub(crate) chunk_size: Option<ByteSize>,
    #[serde(deserialize_with = "parsed")]
    pub(crate) placement: Option<PlacementStrategy>,
    #[serde(deserialize_with = "duration")]
    pub(crate) repair_after: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub(crate) delete_grace: Option<Duration>,
    #[serde(deserialize_with = "durability")]
    pub(crate) durability: Option<Durability>,
}

impl Settings {
    /// Reads `named`, or else the first of the default places that exists.
    ///
    /// # Errors
    /// A file that was named and cannot be read; a file that says something
    /// that no setting knows.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = named {
            return Self::read(path);
        }
        default_places()
            .iter()
            .find(|path| path.is_file())
            .map_or_else(|| Ok(Self::default()), |path| Self::read(path))
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let text =
            read_bounded(path).map_err(|e| Failure::local("read the configuration", path, &e))?;
        toml::from_str(&text).map_err(|e| {
            let about = format!("the configuration {} is wrong", path.display());
            Failure::quoting(Code::Usage, &about, &e.to_string())
        })
    }
}

fn default_places() -> Vec<PathBuf> {
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|text| !text.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    let mut places = vec![PathBuf::from("dfs-sim.toml")];
    places.extend(home.map(|home| home.join("dfs-sim").join("config.toml")));
    places
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_SIZE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// A number or a text that is read as a flag would be.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl Written {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

fn parsed<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text = Written::deserialize(deserializer)?.text();
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Written::deserialize(deserializer)?.text();
    parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

fn durability<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Durability>, D::Error> {
    let text = String::deserialize(d)?;
    crate::cli::parse_durability(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_on_the_command_line() {
        let settings: Settings = toml::from_str(
            "[client]\ncoord = '10.0.0.1:4000'\nretry-for = '5s'\nprogress = 'never'\n\
             [node]\ncapacity = '100GiB'\n\
             [coord]\nparity = 'rs:4+2'\nchunk-size = 1048576\nplacement = 'ring'\n\
             repair-after = 30\ncompression = 'none'\ndurability = 'relaxed'",
        )
        .expect("a good file");
        assert_eq!(settings.client.coord.as_deref(), Some("10.0.0.1:4000"));
        assert_eq!(settings.client.retry_for, Some(Duration::from_secs(5)));
        assert_eq!(settings.node.capacity, Some(ByteSize(100 << 30)));
        assert_eq!(settings.coord.parity, Some(ParitySpec::ReedSolomon { data: 4, parity: 2 }));
        assert_eq!(settings.coord.chunk_size, Some(ByteSize(1 << 20)));
        assert_eq!(settings.coord.repair_after, Some(Duration::from_secs(30)));
        assert_eq!(settings.coord.durability, Some(Durability::Relaxed));
    }

    #[test]
    fn a_setting_that_does_not_exist_is_refused() {
        for text in ["[client]\ncord = 'x'", "[coord]\nparity = 'rs:'", "[nodes]", "x = 1"] {
            assert!(toml::from_str::<Settings>(text).is_err(), "{text}");
        }
    }
}
