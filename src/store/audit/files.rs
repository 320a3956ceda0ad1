//! The files of a trail as readers see them: all of them at one moment, and what comes after that over
//! rotations.

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::audit::chain::Place;
use crate::store::audit::{KEPT_FILES, TURN_PATIENCE};
use crate::store::turn;

/// The path of the file with this number; 0 is the one that is written.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// What tells one file from another, whatever its name.
pub(super) fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// A file that need not exist.
pub(super) fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A trail as it stands at one moment.
#[derive(Debug)]
pub struct AuditTrail {
    path: PathBuf,
    pieces: Vec<Piece>,
}

/// One file of it.
#[derive(Debug)]
struct Piece {
    path: PathBuf,
    file: File,
    /// Bytes that belong to the moment.
    size: u64,
}

/// One line of a trail.
#[derive(Debug)]
pub struct Line {
    /// Where it stands.
    pub place: Place,
    /// Its bytes without the line break.
    pub bytes: Vec<u8>,
    /// Whether it had a line break.
    pub ended: bool,
}

impl AuditTrail {
    /// Opens the files of the trail at `path`, between two writes.
    ///
    /// # Errors
    /// One of them cannot be opened. None at all is no error.
    pub fn open(path: &Path) -> io::Result<AuditTrail> {
        loop {
            let newest = open_existing(path)?;
            // Without a turn the last line may be half of one; that is told as such.
            let turn = match &newest {
                Some(file) => turn::within(file, TURN_PATIENCE).ok().flatten(),
                None => None,
            };
            if let Some(file) = &newest {
                let moved = fs::metadata(path).map_or(true, |found| {
                    Some(identity(&found)) != file.metadata().ok().as_ref().map(identity)
                });
                if moved {
                    continue;
                }
            }
            let mut pieces = Vec::new();
            for number in (1..=KEPT_FILES).rev() {
                let path = numbered(path, number);
                if let Some(file) = open_existing(&path)? {
                    pieces.push(Piece::new(path, file)?);
                }
            }
            let size = match &newest {
                Some(file) => file.metadata()?.len(),
                None => 0,
            };
            drop(turn);
            if let Some(file) = newest {
                let path = path.to_owned();
                pieces.push(Piece { path, file, size });
            }
            let path = path.to_owned();
            return Ok(AuditTrail { path, pieces });
        }
    }

    /// Its files, the oldest first.
    pub fn paths(&self) -> Vec<&Path> {
        let pieces = self.pieces.iter();
        pieces.map(|piece| piece.path.as_path()).collect()
    }

    /// Whether older lines may have gone already.
    pub fn is_rotated(&self) -> bool {
        let oldest = numbered(&self.path, KEPT_FILES);
        self.pieces
            .first()
            .is_some_and(|piece| piece.path == oldest)
    }

    /// Hands every line to `take`, the oldest first, until that fails.
    ///
    /// # Errors
    /// A file cannot be read, or what `take` says.
    pub fn each<E: From<io::Error>>(
        &self,
        mut take: impl FnMut(Line) -> Result<(), E>,
    ) -> Result<(), E> {
        for (file, piece) in self.pieces.iter().enumerate() {
            let mut content = &piece.file;
            content.seek(SeekFrom::Start(0))?;
            let mut content = BufReader::new(content.take(piece.size));
            let mut place = Place { file, line: 0 };
            loop {
                let mut bytes = Vec::new();
                if content.read_until(b'\n', &mut bytes)? == 0 {
                    break;
                }
                place.line += 1;
                let ended = bytes.last() == Some(&b'\n');
                if ended {
                    bytes.pop();
                }
                take(Line {
                    place,
                    bytes,
                    ended,
                })?;
            }
        }
        Ok(())
    }

    /// Reads on where this moment ends; a last line without its end is read as a whole once that is there.
    ///
    /// # Errors
    /// The file that is written cannot be read.
    pub fn follow(self) -> io::Result<Follower> {
        let newest = self.pieces.into_iter().last();
        let newest = newest.filter(|piece| piece.path == self.path);
        let mut at = 0;
        if let Some(Piece { file, size, .. }) = &newest {
            let mut content = BufReader::new(file);
            content.seek(SeekFrom::Start(0))?;
            let mut content = content.take(*size);
            let mut line = Vec::new();
            while content.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
                at += line.len() as u64;
                line.clear();
            }
        }
        Ok(Follower {
            path: self.path,
            file: newest.map(|piece| piece.file),
            at,
            unfinished: Vec::new(),
        })
    }
}

impl Piece {
    fn new(path: PathBuf, file: File) -> io::Result<Piece> {
        let size = file.metadata()?.len();
        Ok(Piece { path, file, size })
    }
}

/// Reads what is appended, over rotations.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    at: u64,
    /// The beginning of a line whose end is not there yet.
    unfinished: Vec<u8>,
}

impl Follower {
    /// The whole lines that came since the last look.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        loop {
            // Looked at before reading: nothing is appended to a file that has lost its name.
            let next = self.successor()?;
            self.read_on(&mut lines)?;
            let Some(next) = next else {
                return Ok(lines);
            };
            if !self.unfinished.is_empty() {
                lines.push(std::mem::take(&mut self.unfinished));
            }
            (self.file, self.at) = (Some(next), 0);
        }
    }

    /// The file after the one that is read, if that is not the one that is written any more.
    fn successor(&self) -> io::Result<Option<File>> {
        let Some(file) = &self.file else {
            return open_existing(&self.path);
        };
        let own = identity(&file.metadata()?);
        let mut newer = None;
        for number in 0..=KEPT_FILES {
            let Some(file) = open_existing(&numbered(&self.path, number))? else {
                continue;
            };
            if identity(&file.metadata()?) == own {
                return Ok(newer);
            }
            newer = Some(file);
        }
        // It is gone from among them: what is left begins with the oldest one.
        Ok(newer)
    }

    fn read_on(&mut self, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
        let Some(mut file) = self.file.as_ref() else {
            return Ok(());
        };
        if file.metadata()?.len() < self.at {
            // Somebody emptied it.
            (self.at, self.unfinished) = (0, Vec::new());
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        self.at += file.read_to_end(&mut bytes)? as u64;
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.unfinished);
            line.extend_from_slice(&rest[..end]);
            lines.push(line);
            rest = &rest[end + 1..];
        }
        self.unfinished.extend_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;
    use crate::store::AuditLog;
    use crate::store::testing::TempDir;

    fn texts(lines: Vec<Vec<u8>>) -> Vec<u64> {
        let seq = |line: Vec<u8>| {
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            line["seq"].as_u64().unwrap()
        };
        lines.into_iter().map(seq).collect()
    }

    fn all(trail: &AuditTrail) -> Vec<u64> {
        let mut lines = Vec::new();
        trail
            .each(|line| {
                lines.push(line.bytes);
                Ok::<(), io::Error>(())
            })
            .unwrap();
        texts(lines)
    }

    #[test]
    fn a_follower_misses_and_repeats_no_line_over_rotations() {
        let temp = TempDir::new();
        let path = temp.join("audit.jsonl");
        let mut nothing = AuditTrail::open(&path).unwrap().follow().unwrap();
        assert_eq!(texts(nothing.read().unwrap()), [0; 0]);
        let log = AuditLog::with_max_bytes(path.clone(), 400);
        log.append(1, &json!({"action": "a"})).unwrap();
        let trail = AuditTrail::open(&path).unwrap();
        assert_eq!(all(&trail), [1]);
        let mut follower = trail.follow().unwrap();
        let mut seen = Vec::new();
        for round in 0..20 {
            for _ in 0..round % 4 {
                log.append(1, &json!({"action": "a"})).unwrap();
            }
            seen.extend(texts(follower.read().unwrap()));
        }
        assert!(numbered(&path, KEPT_FILES).exists(), "it was rotated");
        let last = *seen.last().unwrap();
        assert_eq!(seen, (2..=last).collect::<Vec<u64>>());
        assert_eq!(texts(nothing.read().unwrap()).last(), Some(&last));
        assert_eq!(all(&AuditTrail::open(&path).unwrap()).last(), Some(&last));
    }

    #[test]
    fn half_a_line_waits_for_its_end_and_an_emptied_file_is_read_anew() {
        let temp = TempDir::new();
        let path = temp.join("audit.jsonl");
        fs::write(&path, "one\ntw").unwrap();
        let mut follower = AuditTrail::open(&path).unwrap().follow().unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        assert!(follower.read().unwrap().is_empty());
        file.write_all(b"o\nthr").unwrap();
        assert_eq!(follower.read().unwrap(), [b"two"]);
        file.write_all(b"ee\n").unwrap();
        assert_eq!(follower.read().unwrap(), [b"three"]);
        file.set_len(0).unwrap();
        file.write_all(b"4\n").unwrap();
        assert_eq!(follower.read().unwrap(), [b"4"]);
    }
}
