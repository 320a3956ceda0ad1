use super::*;

/// A trail of `count` lines.
fn lines(count: u64) -> Vec<String> {
    let mut link = None;
    let mut lines = Vec::new();
    for number in 0..count {
        let entry = format!("{{\"ts\":{number},\"action\":\"a\"}}");
        let (line, next) = seal(link.as_ref(), b"", &entry, number == 0);
        lines.push(line);
        link = Some(next);
    }
    lines
}

/// Verifies files of whole text each; a break as file, line and fault.
fn verify(rotated: bool, files: &[&str]) -> Result<(Tally, Option<Link>), (usize, u64, Fault)> {
    let mut verifier = Verifier::new(rotated);
    let broken = |(place, fault): (Place, Fault)| (place.file, place.line, fault);
    for (file, text) in files.iter().enumerate() {
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let place = Place {
                file,
                line: index as u64 + 1,
            };
            let bare = line.strip_suffix('\n');
            let taken = verifier.take(place, bare.unwrap_or(line).as_bytes(), bare.is_some());
            taken.map_err(broken)?;
        }
    }
    verifier.finish().map_err(broken)
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_change_of_a_line_shows_at_that_line() {
    let whole = lines(5);
    let (tally, link) = verify(false, &[&text(&whole)]).unwrap();
    assert_eq!(
        (tally.chained, tally.first, link.unwrap().seq),
        (5, Some(1), 5)
    );
    type Edit = fn(&mut Vec<String>);
    let cases: [(&str, Edit, u64, Fault); 12] = [
        (
            "a value",
            |l| l[2] = l[2].replace("\"a\"", "\"b\""),
            3,
            Fault::Altered,
        ),
        (
            "the last line",
            |l| l[4] = l[4].replace("\"a\"", "\"b\""),
            5,
            Fault::Altered,
        ),
        (
            "a blank",
            |l| l[1] = l[1].replace(",\"action\"", ", \"action\""),
            2,
            Fault::Altered,
        ),
        (
            "the chain",
            |l| l[3] = format!("{}0\"}}", &l[3][..l[3].len() - 3]),
            4,
            Fault::Altered,
        ),
        (
            "a member behind",
            |l| l[3] = l[3].replace("\"}", "\",\"x\":1}"),
            4,
            Fault::Altered,
        ),
        (
            "a line gone",
            |l| drop(l.remove(2)),
            3,
            Fault::Missing { from: 3, to: 3 },
        ),
        (
            "lines gone at the beginning",
            |l| drop(l.drain(..2)),
            1,
            Fault::Missing { from: 1, to: 2 },
        ),
        (
            "a line twice",
            |l| l.insert(3, l[2].clone()),
            4,
            Fault::Repeated { seq: 3 },
        ),
        (
            "two lines changed places",
            |l| l.swap(1, 2),
            2,
            Fault::Missing { from: 2, to: 2 },
        ),
        (
            "a line without chain",
            |l| l.insert(2, "{\"ts\":1}".to_owned()),
            3,
            Fault::NotChained,
        ),
        (
            "a line made unreadable",
            |l| l[2].truncate(9),
            3,
            Fault::Unreadable,
        ),
        (
            "a line that is none",
            |l| l.insert(4, "x".to_owned()),
            5,
            Fault::Unreadable,
        ),
    ];
    for (what, edit, line, fault) in cases {
        let mut edited = whole.clone();
        edit(&mut edited);
        assert_eq!(
            verify(false, &[&text(&edited)]),
            Err((0, line, fault)),
            "{what}"
        );
    }
    let mut unreadable = whole;
    unreadable[4].truncate(9);
    let found = verify(false, &[&text(&unreadable)]);
    assert_eq!(
        found,
        Err((0, 5, Fault::Unreadable)),
        "a whole last line that is none"
    );
}

#[test]
fn a_line_that_a_crash_tore_is_told_apart_from_an_edited_one() {
    let whole = lines(3);
    let start = text(&whole[..2]);
    for cut in 1..whole[2].len() {
        let torn = format!("{start}{}", &whole[2][..cut]);
        let (tally, link) = verify(false, &[&torn]).unwrap();
        assert_eq!(
            (tally.torn, tally.chained, link.unwrap().seq),
            (1, 2, 2),
            "{cut}"
        );
        // The next line takes the piece into its chain.
        let link = link_of(whole[1].as_bytes());
        let between = format!("{}\n", &whole[2][..cut]);
        let (line, _) = seal(link.as_ref(), between.as_bytes(), "{\"ts\":9}", false);
        let (tally, link) = verify(false, &[&format!("{torn}\n{line}\n")]).unwrap();
        assert_eq!(
            (tally.torn, tally.chained, link.unwrap().seq),
            (1, 3, 3),
            "{cut}"
        );
        // Another piece in its place is an edit.
        let edited = format!("{start}x{}\n{line}\n", &whole[2][1..cut]);
        assert_eq!(
            verify(false, &[&edited]),
            Err((0, 3, Fault::Unreadable)),
            "{cut}"
        );
    }
    // Torn exactly before its line break.
    let (tally, _) = verify(false, &[text(&whole).trim_end()]).unwrap();
    assert_eq!((tally.torn, tally.chained), (0, 3));
}

#[test]
fn a_trail_may_begin_without_a_chain_and_not_lose_it_again() {
    let old = "{\"ts\":1,\"action\":\"old\"}\n{\"ts\":2,\"ac\n";
    let whole = text(&lines(2));
    let (tally, _) = verify(false, &[old, &whole]).unwrap();
    assert_eq!((tally.not_chained, tally.chained, tally.torn), (2, 2, 0));
    assert_eq!(
        verify(false, &[&whole, old]),
        Err((1, 1, Fault::NotChained))
    );
    let beheaded = text(&lines(3)[1..]);
    let lost = Err((1, 1, Fault::Missing { from: 1, to: 1 }));
    assert_eq!(verify(true, &[old, &beheaded]), lost);
    assert_eq!(verify(false, &[old]).unwrap().1, None);
    assert_eq!(verify(false, &[]).unwrap(), (Tally::default(), None));
}

#[test]
fn the_first_line_of_a_later_file_is_checked_without_the_files_that_are_gone() {
    let first = lines(2);
    let link = link_of(first[1].as_bytes());
    let (line, _) = seal(link.as_ref(), b"", "{\"ts\":7}", true);
    assert!(line.contains(",\"prev\":\""), "{line}");
    let second = format!("{line}\n");
    assert!(verify(false, &[&text(&first), &second]).is_ok());
    let (tally, link) = verify(true, &[&second]).unwrap();
    assert_eq!((tally.first, link.unwrap().seq), (Some(3), 3));
    let lost = Err((0, 1, Fault::Missing { from: 1, to: 2 }));
    assert_eq!(verify(false, &[&second]), lost);
    let edited = second.replace("7", "8");
    assert_eq!(verify(true, &[&edited]), Err((0, 1, Fault::Altered)));
    let middle = format!("{}\n", lines(4)[2]);
    assert_eq!(
        verify(true, &[&middle]),
        Err((0, 1, Fault::Missing { from: 1, to: 2 }))
    );
}
