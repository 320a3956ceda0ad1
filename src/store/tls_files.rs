//! The gateway's certificate and key: own files, or a pair made once below the state directory
//! (cli.md §3.3, §5.6).
//!
//! What exists is never overwritten, and half a pair is an error: a new certificate would lock out every
//! client that pinned the old one.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::identity::certificate::{NewCertificate, PemPair, not_after};
use crate::identity::{Fingerprint, Random};
use crate::protocol::limits::DAY_MS;
use crate::store::atomic::{
    PRIVATE_FILE, TEMPORARY_SUFFIX, create_private_directory, sync_directory_of, write,
};
use crate::store::clock::rfc3339;
use crate::store::error::StoreError;

/// Where a generated pair stands, below the state directory.
const DIRECTORY: &str = "gateway/tls";

const CERTIFICATE: &str = "gateway-cert.pem";
const KEY: &str = "gateway-key.pem";

/// The common name of a generated certificate, also one of its host names.
const COMMON_NAME: &str = "openclaw-gateway";

/// How long a generated certificate is valid: ten years with their leap days.
const VALID_MS: u64 = 3_653 * DAY_MS;

/// The beginning of 2026, in epoch milliseconds. A clock that is further back, as that of a board without a battery
/// before it heard of the time, says nothing about when a certificate ends.
const WRITTEN_MS: u64 = 1_767_225_600_000;

/// How far back it begins, for clients whose clock is behind.
const BACKDATED_MS: u64 = DAY_MS;

/// Which files hold the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// The certificate, or a chain with it first; PEM.
    pub certificate: PathBuf,
    /// Its private key; PEM.
    pub key: PathBuf,
    /// More certificates of the chain; PEM.
    pub authority: Option<PathBuf>,
}

/// The certificate a gateway shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The certificate first, then the rest of its chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// What clients pin.
    pub fingerprint: Fingerprint,
    /// RFC 3339 in UTC; `None` when the certificate does not say it in a known way.
    pub not_after: Option<String>,
}

impl OwnCertificate {
    /// Whether it is no longer valid.
    pub fn has_expired(&self, now_ms: u64) -> bool {
        // Texts of one form sort like their times.
        self.not_after
            .as_ref()
            .is_some_and(|end| *end < rfc3339(now_ms))
    }
}

/// Why there is no usable certificate or key. Each text is the whole sentence and names the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFileError {
    /// One of the two files is not there.
    Incomplete {
        /// The one that is there.
        present: PathBuf,
        /// The one that is not.
        missing: PathBuf,
    },
    /// Neither file is there.
    Missing(TlsPaths),
    /// The one file that is to hold both is not there: what is made is two files.
    MissingBoth(PathBuf),
    /// A file that holds no certificate.
    NoCertificate(PathBuf),
    /// A file that holds no private key.
    NoKey(PathBuf),
    /// Reading or writing failed.
    Store(StoreError),
}

impl TlsPaths {
    /// The configured files, or those below the state directory.
    pub fn new(
        state_dir: &Path,
        certificate: Option<&Path>,
        key: Option<&Path>,
        authority: Option<&Path>,
    ) -> TlsPaths {
        let place = |given: Option<&Path>, name| {
            given.map_or_else(|| state_dir.join(DIRECTORY).join(name), Path::to_owned)
        };
        TlsPaths {
            certificate: place(certificate, CERTIFICATE),
            key: place(key, KEY),
            authority: authority.map(Path::to_owned),
        }
    }

    /// The certificate alone, for whoever only shows or pins it.
    pub fn certificate(&self) -> Result<OwnCertificate, TlsFileError> {
        let text = read(&self.certificate)?;
        let text = text.ok_or_else(|| TlsFileError::Missing(self.clone()))?;
        let mut chain = certificates(&self.certificate, &text)?;
        let Some(leaf) = chain.first().cloned() else {
            return Err(TlsFileError::NoCertificate(self.certificate.clone()));
        };
        if let Some(path) = &self.authority {
            let text = read(path)?.ok_or_else(|| TlsFileError::Incomplete {
                present: self.certificate.clone(),
                missing: path.clone(),
            })?;
            for certificate in certificates(path, &text)? {
                if !chain.contains(&certificate) {
                    chain.push(certificate);
                }
            }
        }
        Ok(OwnCertificate {
            fingerprint: Fingerprint::of(&leaf),
            not_after: not_after(&leaf),
            chain,
        })
    }

    /// Certificate and key.
    pub fn pair(&self) -> Result<(OwnCertificate, PrivateKeyDer<'static>), TlsFileError> {
        let incomplete = |present: &Path, missing: &Path| TlsFileError::Incomplete {
            present: present.to_owned(),
            missing: missing.to_owned(),
        };
        let key = match (read(&self.key)?, self.certificate.exists()) {
            (Some(key), true) => key,
            (Some(_), false) => return Err(incomplete(&self.key, &self.certificate)),
            (None, true) => return Err(incomplete(&self.certificate, &self.key)),
            (None, false) if self.certificate == self.key => {
                return Err(TlsFileError::MissingBoth(self.key.clone()));
            }
            (None, false) => return Err(TlsFileError::Missing(self.clone())),
        };
        let certificate = self.certificate()?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| TlsFileError::NoKey(self.key.clone()))?;
        Ok((certificate, key))
    }

    /// Makes a pair where there is none, valid for this machine's names and loopback. The caller holds
    /// the lock of the state directory.
    pub fn generate(&self, host: &str, now_ms: u64) -> Result<(), TlsFileError> {
        let mut hosts = vec!["localhost".to_owned(), COMMON_NAME.to_owned()];
        let own = host.to_ascii_lowercase();
        if is_host_name(&own) && !hosts.contains(&own) {
            if !own.contains('.') {
                hosts.push(format!("{own}.local"));
            }
            hosts.push(own);
        }
        let wanted = NewCertificate {
            name: COMMON_NAME,
            hosts: &hosts,
            addresses: &[
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ],
            not_before: &rfc3339(now_ms.saturating_sub(BACKDATED_MS)),
            not_after: &rfc3339(now_ms.max(WRITTEN_MS).saturating_add(VALID_MS)),
        };
        let unwritable = |cause: String| {
            TlsFileError::Store(StoreError::Unwritable {
                path: self.certificate.clone(),
                cause,
            })
        };
        let pair = wanted
            .generate()
            .map_err(|fault| unwritable(fault.to_string()))?;
        self.store(&pair)
            .map_err(|error| unwritable(error.to_string()))
    }

    /// Both files appear at once when they share a directory that is not there yet, as at the first
    /// start: a crash leaves all or nothing.
    fn store(&self, pair: &PemPair) -> io::Result<()> {
        let files = [
            (&self.key, &pair.key),
            (&self.certificate, &pair.certificate),
        ];
        let shared = self.key.parent().filter(|directory| {
            self.certificate.parent() == Some(directory) && !directory.exists()
        });
        let Some(directory) = shared else {
            for (path, text) in files {
                path.parent().map_or(Ok(()), create_private_directory)?;
                write(path, text.as_bytes(), PRIVATE_FILE)?;
            }
            return Ok(());
        };
        let mut name = directory.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}{TEMPORARY_SUFFIX}", Random.uuid()));
        let staged = directory.with_file_name(name);
        create_private_directory(&staged)?;
        let placed = files
            .iter()
            .try_for_each(|(path, text)| {
                let path = staged.join(path.file_name().unwrap_or_default());
                write(&path, text.as_bytes(), PRIVATE_FILE)
            })
            .and_then(|()| fs::rename(&staged, directory));
        if placed.is_err() {
            // Of no use to anybody; what stays is as private as the pair would be.
            let _ = fs::remove_dir_all(&staged);
        }
        placed.and_then(|()| {
            sync_directory_of(directory).inspect_err(|_| {
                // Clients would pin what may not last.
                let _ = fs::remove_dir_all(directory);
            })
        })
    }
}

/// Letters, digits, dashes and dots: what may stand in a certificate and in a URL.
fn is_host_name(name: &str) -> bool {
    const MAX_HOST_NAME: usize = 253;
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= MAX_HOST_NAME && name.split('.').all(is_label)
}

/// The bytes of a file, `None` when there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, TlsFileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TlsFileError::Store(StoreError::unreadable(path, &error))),
    }
}

/// Every certificate of a PEM text, at least one.
fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| TlsFileError::NoCertificate(path.to_owned()))
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("gateway tls: ")?;
        match self {
            Self::Incomplete { present, missing } => write!(
                formatter,
                "cert/key missing: {} is there, but {} is not. Put it back, or correct gateway.tls",
                present.display(),
                missing.display()
            ),
            Self::Missing(paths) => write!(
                formatter,
                "cert/key missing: there is no {} and no {}. Put your own there, or set \
                 gateway.tls.autoGenerate to true",
                paths.certificate.display(),
                paths.key.display()
            ),
            Self::MissingBoth(path) => write!(
                formatter,
                "cert/key missing: there is no {}. Put your own certificate and key there, or name two files: \
                 gateway.tls.certPath and gateway.tls.keyPath",
                path.display()
            ),
            Self::NoCertificate(path) => write!(
                formatter,
                "{} holds no certificate. It has to be PEM",
                path.display()
            ),
            Self::NoKey(path) => write!(
                formatter,
                "{} holds no private key. It has to be PEM without a passphrase",
                path.display()
            ),
            Self::Store(fault) => fault.fmt(formatter),
        }
    }
}

impl std::error::Error for TlsFileError {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::store::testing::TempDir;

    const NOW_MS: u64 = 1_795_221_070_445;

    fn paths(temp: &TempDir) -> TlsPaths {
        TlsPaths::new(temp.path(), None, None, None)
    }

    #[test]
    fn a_generated_pair_is_private_and_complete() {
        let temp = TempDir::new();
        let paths = paths(&temp);
        assert_eq!(
            paths.pair().unwrap_err(),
            TlsFileError::Missing(paths.clone())
        );
        paths.generate("Build-Pi", NOW_MS).unwrap();
        let (certificate, _) = paths.pair().unwrap();
        assert_eq!(certificate.chain.len(), 1);
        assert_eq!(
            certificate.not_after.as_deref(),
            Some("2036-11-21T00:31:10Z")
        );
        assert!(!certificate.has_expired(NOW_MS));
        assert!(certificate.has_expired(NOW_MS + VALID_MS + 1_000));
        for path in [&paths.certificate, &paths.key] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }
        let directory = paths.key.parent().unwrap();
        assert_eq!(fs::metadata(directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(directory).unwrap().count(), 2);
        let parent = directory.parent().unwrap();
        assert_eq!(fs::read_dir(parent).unwrap().count(), 1, "no leftover");
    }

    #[test]
    fn a_pair_of_a_board_that_does_not_know_the_time_is_valid_when_it_does() {
        let temp = TempDir::new();
        paths(&temp).generate("pi", 5_000).unwrap();
        let certificate = paths(&temp).certificate().unwrap();
        assert!(!certificate.has_expired(NOW_MS));
    }

    #[test]
    fn a_pair_is_also_made_in_a_directory_that_exists_and_in_two() {
        let temp = TempDir::new();
        fs::create_dir_all(temp.join("gateway/tls")).unwrap();
        paths(&temp).generate("h", NOW_MS).unwrap();
        assert!(paths(&temp).pair().is_ok());
        let apart = TlsPaths::new(
            temp.path(),
            Some(&temp.join("a/c.pem")),
            Some(&temp.join("b/k.pem")),
            None,
        );
        apart.generate("h", NOW_MS).unwrap();
        assert!(apart.pair().is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let temp = TempDir::new();
        let whole = paths(&temp);
        whole.generate("h", NOW_MS).unwrap();
        let file = |name: &str, text: &str| {
            let path = temp.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let junk = file("junk.pem", "nothing");
        let broken = file(
            "broken.pem",
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        );
        let (absent, other) = (temp.join("absent.pem"), temp.join("other.pem"));
        let with = |certificate: &Path, key: &Path, authority: Option<&Path>| {
            let paths = TlsPaths::new(temp.path(), Some(certificate), Some(key), authority);
            paths.pair().unwrap_err()
        };
        let (certificate, key) = (whole.certificate.as_path(), whole.key.as_path());
        for (error, expected) in [
            (with(certificate, &absent, None), "absent.pem is not."),
            (with(&absent, key, None), "absent.pem is not."),
            (with(certificate, key, Some(&absent)), "absent.pem is not."),
            (with(&absent, &other, None), "other.pem. Put your own there"),
            (with(&absent, &absent, None), "or name two files"),
            (with(&junk, key, None), "junk.pem holds no certificate."),
            (with(&broken, key, None), "broken.pem holds no certificate."),
            (
                with(certificate, &junk, None),
                "junk.pem holds no private key.",
            ),
            (with(certificate, temp.path(), None), "cannot read "),
        ] {
            let text = error.to_string();
            assert!(text.starts_with("gateway tls: "), "{text}");
            assert!(text.contains(expected), "{text}, not {expected}");
        }
    }

    #[test]
    fn an_authority_completes_the_chain_once() {
        let temp = TempDir::new();
        let own = paths(&temp);
        own.generate("h", NOW_MS).unwrap();
        let other = TlsPaths::new(
            temp.path(),
            Some(&temp.join("o/c.pem")),
            Some(&temp.join("o/k.pem")),
            None,
        );
        other.generate("h", NOW_MS).unwrap();
        let both = [&own.certificate, &other.certificate].map(|path| fs::read(path).unwrap());
        fs::write(temp.join("ca.pem"), both.concat()).unwrap();
        let paths = TlsPaths::new(temp.path(), None, None, Some(&temp.join("ca.pem")));
        let (chained, _) = paths.pair().unwrap();
        assert_eq!(chained.chain.len(), 2);
        assert_eq!(chained.fingerprint, own.certificate().unwrap().fingerprint);
    }

    #[test]
    fn only_host_names_go_into_a_certificate() {
        for (name, expected) in [
            ("build-pi", true),
            ("nas.example.com", true),
            ("", false),
            ("-a", false),
            ("a_b", false),
            ("a b", false),
            ("a..b", false),
            ("bücher", false),
        ] {
            assert_eq!(is_host_name(name), expected, "{name}");
        }
    }
}
