//! A home directory of its own for one test of this room.

use std::path::PathBuf;

use crate::config::environment::Environment;
use crate::config::error::{ConfigError, Issue};
use crate::config::load::{Draft, Loaded, load};
use crate::config::paths::Paths;
use crate::config::write::{Operation, apply};
use crate::store::testing::TempDir;

pub struct Home {
    pub paths: Paths,
    pub environment: Environment,
    _directory: TempDir,
}

impl Home {
    /// A home whose configuration file holds `text`.
    pub fn new(text: &str) -> Self {
        Self::with_environment(text, &[])
    }

    pub fn with_environment(text: &str, pairs: &[(&str, &str)]) -> Self {
        let directory = TempDir::new();
        let home = directory.path().display().to_string();
        let mut environment = Environment::from_pairs(pairs.iter().copied());
        environment.set("HOME", &home);
        let paths = Paths::resolve(&environment, None).unwrap();
        std::fs::create_dir(&paths.state_dir).unwrap();
        std::fs::write(&paths.config_file, text).unwrap();
        Self {
            paths,
            environment,
            _directory: directory,
        }
    }

    /// Writes a file beside the configuration and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.paths.state_dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.paths.config_file).unwrap()
    }

    pub fn load(&self) -> Result<Loaded, ConfigError> {
        load(&self.paths, &self.environment)
    }

    /// The issues of a file that must be refused.
    pub fn issues(&self) -> Vec<String> {
        match self.load() {
            Err(ConfigError::Invalid { issues, .. }) => {
                issues.iter().map(Issue::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn apply(&self, operations: &[Operation]) -> Result<Draft, ConfigError> {
        apply(&self.paths, &self.environment, operations)
    }

    /// Names beside the configuration file, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.paths.state_dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
