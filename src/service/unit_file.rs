//! Where the unit of a service stands: the one file that counts among those of a user, of an administrator and of
//! packages, in systemd's order (systemd.unit(5)), and whether a target starts it. Reads directories, asks nobody.

use std::fs;
use std::path::{Path, PathBuf};

/// What the Debian package of this program put on the machine, one path a line.
const PACKAGE_LIST: &str = "var/lib/dpkg/info/openclaw.list";

/// Where the machine's units stand, the first wins.
const SYSTEM: [(&str, Supplier); 5] = [
    ("etc/systemd/system", Supplier::Administrator),
    ("run/systemd/system", Supplier::Administrator),
    ("usr/local/lib/systemd/system", Supplier::Vendor),
    ("usr/lib/systemd/system", Supplier::Vendor),
    ("lib/systemd/system", Supplier::Vendor),
];

/// Where a user's units stand, the first wins; `~` is the user's home.
const USER: [(&str, Supplier); 8] = [
    ("~/.config/systemd/user", Supplier::User),
    ("etc/systemd/user", Supplier::Administrator),
    ("run/systemd/user", Supplier::Administrator),
    ("~/.local/share/systemd/user", Supplier::User),
    ("usr/local/share/systemd/user", Supplier::Vendor),
    ("usr/share/systemd/user", Supplier::Vendor),
    ("usr/local/lib/systemd/user", Supplier::Vendor),
    ("usr/lib/systemd/user", Supplier::Vendor),
];

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supplier {
    /// Of the machine's administrator, or of an install with `--system`.
    Administrator,
    /// Of the user, or of an install.
    User,
    /// Of a package or another installation of the whole program.
    Vendor,
}

impl Supplier {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::User => "user",
            Self::Vendor => "vendor",
        }
    }
}

/// The unit file that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFile {
    /// The file; of an instance without one of its own, the template.
    pub path: PathBuf,
    /// Whose it is.
    pub supplier: Supplier,
    /// The Debian package of this program brought it.
    pub is_packaged: bool,
    /// The directories with drop-ins of the unit, which change what the file says.
    pub drop_ins: Vec<PathBuf>,
}

impl UnitFile {
    /// Whose file it is, in words; `None` for what an install writes.
    pub fn whose(&self) -> Option<&'static str> {
        match (self.supplier, self.is_packaged) {
            (Supplier::Vendor, true) => Some("of the package openclaw"),
            (Supplier::Vendor, false) => Some("installed with the program"),
            _ => None,
        }
    }
}

/// The directories of one service manager, in its order.
#[derive(Clone, Debug)]
pub struct UnitDirectories {
    root: PathBuf,
    directories: Vec<(PathBuf, Supplier)>,
}

impl UnitDirectories {
    /// Those of the machine's manager (`system`) or of the one of the user with this home, on the system below `root`.
    pub fn new(root: &Path, home: &Path, system: bool) -> Self {
        let places: &[(&str, Supplier)] = if system { &SYSTEM } else { &USER };
        let directory = |(path, supplier): &(&str, Supplier)| match path.strip_prefix("~/") {
            Some(path) => (home.join(path), *supplier),
            None => (root.join(path), *supplier),
        };
        Self {
            directories: places.iter().map(directory).collect(),
            root: root.to_owned(),
        }
    }

    /// Where an install writes.
    pub fn first(&self) -> &Path {
        self.directories
            .first()
            .map_or(Path::new("/"), |(path, _)| path)
    }

    /// The file of a unit; `None` where there is none, or a mask in front of it.
    pub fn find(&self, unit: &str) -> Option<UnitFile> {
        let (path, supplier) = self
            .first_with(unit)
            .or_else(|| self.first_with(&template(unit)?.0))?;
        if is_mask(&path) {
            return None;
        }
        let vendor = supplier == Supplier::Vendor;
        Some(UnitFile {
            is_packaged: vendor && self.is_packaged(&path),
            drop_ins: self.drop_ins(unit),
            path,
            supplier,
        })
    }

    /// Whether a target, of whoever's making, starts the unit: what `systemctl enable` leaves.
    pub fn is_wanted(&self, unit: &str) -> bool {
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        let mut targets = self.directories.iter().flat_map(|(path, _)| entries(path));
        targets.any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            (name.ends_with(".wants") || name.ends_with(".requires"))
                && fs::symlink_metadata(entry.path().join(unit)).is_ok()
        })
    }

    fn first_with(&self, name: &str) -> Option<(PathBuf, Supplier)> {
        let places = self.directories.iter();
        let mut files = places.map(|(path, supplier)| (path.join(name), *supplier));
        files.find(|(path, _)| fs::symlink_metadata(path).is_ok())
    }

    fn drop_ins(&self, unit: &str) -> Vec<PathBuf> {
        let names = [Some(unit.to_owned()), template(unit).map(|(name, _)| name)];
        let names: Vec<String> = names.into_iter().flatten().collect();
        let places = self
            .directories
            .iter()
            .flat_map(|(path, _)| names.iter().map(move |name| path.join(format!("{name}.d"))));
        let holds = |directory: &PathBuf| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let mut names = entries.map(|entry| entry.file_name());
            names.any(|name| name.to_string_lossy().ends_with(".conf"))
        };
        places.filter(holds).collect()
    }

    fn is_packaged(&self, path: &Path) -> bool {
        let list = fs::read_to_string(self.root.join(PACKAGE_LIST)).unwrap_or_default();
        let listed = |line: &str| self.root.join(line.trim_start_matches('/')) == path;
        list.lines().any(listed)
    }
}

/// `name@.service` and `instance` of `name@instance.service`.
pub fn template(unit: &str) -> Option<(String, &str)> {
    let (name, rest) = unit.split_once('@')?;
    let (instance, ending) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| (format!("{name}@.{ending}"), instance))
}

/// A link to nothing, or an empty file: the unit is not to be started by anybody.
fn is_mask(path: &Path) -> bool {
    let to_nothing = fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"));
    to_nothing || fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::testing::TempDir;

    const GATEWAY: &str = "openclaw-gateway.service";

    fn put(root: &TempDir, path: &str, text: &str) -> PathBuf {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn machine(root: &TempDir) -> UnitDirectories {
        UnitDirectories::new(root.path(), &root.join("home/pi"), true)
    }

    fn user(root: &TempDir) -> UnitDirectories {
        UnitDirectories::new(root.path(), &root.join("home/pi"), false)
    }

    #[test]
    fn the_file_that_counts_is_the_one_that_systemd_takes() {
        let root = TempDir::new();
        let (user, machine) = (user(&root), machine(&root));
        assert_eq!((user.find(GATEWAY), machine.find(GATEWAY)), (None, None));
        // From the last to the first: each new file hides those before.
        for (directories, path, supplier) in [
            (&machine, "lib/systemd/system", Supplier::Vendor),
            (&machine, "usr/lib/systemd/system", Supplier::Vendor),
            (&machine, "usr/local/lib/systemd/system", Supplier::Vendor),
            (&machine, "etc/systemd/system", Supplier::Administrator),
            (&user, "usr/lib/systemd/user", Supplier::Vendor),
            (&user, "home/pi/.local/share/systemd/user", Supplier::User),
            (&user, "etc/systemd/user", Supplier::Administrator),
            (&user, "home/pi/.config/systemd/user", Supplier::User),
        ] {
            let written = put(&root, &format!("{path}/{GATEWAY}"), "[Service]\n");
            let found = directories.find(GATEWAY).unwrap();
            assert_eq!((found.path, found.supplier), (written, supplier));
        }
        assert_eq!(machine.first(), root.join("etc/systemd/system"));
        assert_eq!(user.first(), root.join("home/pi/.config/systemd/user"));
    }

    #[test]
    fn a_mask_hides_the_unit_of_a_package() {
        let root = TempDir::new();
        let machine = machine(&root);
        put(
            &root,
            &format!("usr/lib/systemd/system/{GATEWAY}"),
            "[Service]\n",
        );
        let own = put(&root, &format!("etc/systemd/system/{GATEWAY}"), "");
        assert_eq!(machine.find(GATEWAY), None);
        fs::remove_file(&own).unwrap();
        symlink("/dev/null", &own).unwrap();
        assert_eq!(machine.find(GATEWAY), None);
        fs::remove_file(&own).unwrap();
        assert!(machine.find(GATEWAY).is_some());
    }

    #[test]
    fn a_unit_is_the_packages_when_dpkg_lists_it() {
        let root = TempDir::new();
        let machine = machine(&root);
        let unit = format!("usr/lib/systemd/system/{GATEWAY}");
        put(&root, &unit, "[Service]\n");
        assert_eq!(
            machine.find(GATEWAY).unwrap().whose(),
            Some("installed with the program")
        );
        put(&root, PACKAGE_LIST, &format!("/.\n/usr\n/{unit}\n"));
        assert_eq!(
            machine.find(GATEWAY).unwrap().whose(),
            Some("of the package openclaw")
        );
        put(
            &root,
            &format!("etc/systemd/system/{GATEWAY}"),
            "[Service]\n",
        );
        assert_eq!(machine.find(GATEWAY).unwrap().whose(), None);
    }

    #[test]
    fn an_instance_has_the_file_of_its_template_its_own_link_and_the_drop_ins_of_both() {
        let root = TempDir::new();
        let machine = machine(&root);
        let (alex, kim) = ("openclaw-node@alex.service", "openclaw-node@kim.service");
        let template = put(
            &root,
            "usr/lib/systemd/system/openclaw-node@.service",
            "[Service]\n",
        );
        assert_eq!(machine.find(alex).unwrap().path, template);
        let wants = root.join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        symlink(
            "/usr/lib/systemd/system/openclaw-node@.service",
            wants.join(alex),
        )
        .unwrap();
        assert_eq!(
            (machine.is_wanted(alex), machine.is_wanted(kim)),
            (true, false)
        );
        assert!(machine.find(alex).unwrap().drop_ins.is_empty());
        put(&root, &format!("etc/systemd/system/{alex}.d/more.conf"), "");
        put(
            &root,
            "etc/systemd/system/openclaw-node@.service.d/all.conf",
            "",
        );
        put(
            &root,
            "run/systemd/system/openclaw-node@.service.d/note.txt",
            "",
        );
        assert_eq!(machine.find(alex).unwrap().drop_ins.len(), 2);
        assert_eq!(machine.find(kim).unwrap().drop_ins.len(), 1);
    }
}
