//! An account of this machine: whose home and state directory a service works on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::service::error::ServiceError;

/// The list of local accounts.
const PASSWD: &str = "/etc/passwd";

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
}

impl Account {
    /// The local account of that name.
    ///
    /// # Errors
    /// [`ServiceError::UnknownAccount`]: there is none with an absolute home.
    pub fn named(name: &str) -> Result<Self, ServiceError> {
        let text = fs::read_to_string(PASSWD).unwrap_or_default();
        let unknown = || ServiceError::UnknownAccount(name.to_owned());
        find(&text, |account| account.name == name).ok_or_else(unknown)
    }

    /// The account that this process acts as, when the machine's own list has it.
    pub fn own() -> Option<Self> {
        let uid = geteuid().as_raw();
        let text = fs::read_to_string(PASSWD).ok()?;
        find(&text, |account| account.uid == uid)
    }

    /// Gives a directory or file that root made for this account to it; what belongs to somebody else
    /// already stays theirs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn take_over(&self, path: &Path) -> io::Result<()> {
        let made_by_us = fs::symlink_metadata(path)?.uid() == 0 && self.uid != 0;
        if geteuid().is_root() && made_by_us {
            return std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid));
        }
        Ok(())
    }
}

/// Whether this process acts as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

fn find(text: &str, wanted: impl Fn(&Account) -> bool) -> Option<Account> {
    text.lines().filter_map(read).find(wanted)
}

/// `name:password:uid:gid:comment:home:shell`
fn read(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = PathBuf::from(fields.nth(1)?);
    home.is_absolute().then_some(Account {
        name,
        uid,
        gid,
        home,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_the_list() {
        let text = "root:x:0:0:root:/root:/bin/bash\nbroken:x:y:0::/\nhomeless:x:9:9:::\npi:x:1000:1001:Pi,,,:/home/pi:/bin/sh\n";
        let found = find(text, |account| account.name == "pi").unwrap();
        assert_eq!((found.uid, found.gid), (1000, 1001));
        assert_eq!(found.home, Path::new("/home/pi"));
        assert_eq!(find(text, |account| account.uid == 0).unwrap().name, "root");
        for absent in ["broken", "homeless", "p"] {
            assert_eq!(find(text, |account| account.name == absent), None);
        }
    }
}
