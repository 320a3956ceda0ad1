//! Filters that may run without a rule: which, with which arguments, from where (node-host
//! specification, section 3.8, "Safe bins").

use std::path::PathBuf;

/// The settings of `tools.exec` about such filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeBins {
    /// `safeBins`: names that count.
    pub names: Vec<String>,
    /// `safeBinTrustedDirs`: directories besides `/bin` and `/usr/bin` that they may stand in.
    pub trusted_directories: Vec<PathBuf>,
}

impl Default for SafeBins {
    fn default() -> Self {
        Self {
            names: ["cut", "uniq", "head", "tail", "tr", "wc"]
                .map(str::to_owned)
                .to_vec(),
            trusted_directories: Vec::new(),
        }
    }
}
