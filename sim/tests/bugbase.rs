//! The bug base: what is found is kept, once, and can be read again.

mod support;

use std::{fs, path::PathBuf};

use dacapo_sim::{
    Engine, Minimality, Plan,
    bugbase::{BugBase, BugBaseError, Finding, Provenance, Small, is_id},
};
use support::plan;

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dacapo-bugbase-{test}-{}", std::process::id()));
        // Left behind by a process of the same number, if at all.
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn base(&self) -> BugBase {
        BugBase::at(self.0.join("bugs"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn finding(plan: Plan, small: Option<(usize, Minimality)>) -> Finding {
    let small = small.map(|(operations, minimality)| {
        let mut plan = plan.clone();
        plan.operations.truncate(operations);
        plan.faults.clear();
        Small { minimality, plan }
    });
    Finding {
        property: "sums_agree".to_owned(),
        sentence: "sums agree".to_owned(),
        message: "tally-1 is 3 in the log and 4 in the answer".to_owned(),
        engine: Engine::default(),
        plan,
        small,
        provenance: Provenance {
            commit: "c0ffee".to_owned(),
            clean: Some(true),
            version: "0.1.0".to_owned(),
            command: "dacapo sim".to_owned(),
        },
        date: "2026-01-01T00:00:00Z".to_owned(),
    }
}

#[test]
fn what_is_found_is_read_again_as_it_was() {
    let directory = Directory::new("again");
    let base = directory.base();
    assert!(base.contents().expect("a base that is not there is empty").bugs.is_empty());
    let added = base.add(finding(plan(1), Some((3, Minimality::Minimal)))).expect("can be written");
    assert!(added.is_new && added.path.is_file() && is_id(&added.bug.id), "{added:?}");
    let contents = base.contents().expect("can be read");
    assert_eq!((contents.bugs, contents.unreadable.len()), (vec![added.bug.clone()], 0));
    assert_eq!(base.get(&added.bug.id).expect("is there"), added.bug);
    assert_eq!(base.get(&added.bug.id[..8]).expect("its beginning is enough"), added.bug);
    assert_eq!(added.bug.smallest().operations.len(), 3);
}

#[test]
fn the_same_bug_is_counted_and_kept_once() {
    let directory = Directory::new("once");
    let base = directory.base();
    let first = base.add(finding(plan(1), Some((3, Minimality::TimeRanOut)))).expect("can be written");
    // Found again by its seed without shrinking, by another seed that shrinks to the same plan, by the small plan itself.
    let mut later = finding(plan(1), None);
    later.date = "2026-02-02T00:00:00Z".to_owned();
    let again = base.add(later).expect("can be written");
    assert_eq!((again.is_new, again.bug.count, &again.bug.id), (false, 2, &first.bug.id));
    assert_eq!(
        (again.bug.first_seen.as_str(), again.bug.last_seen.as_str()),
        ("2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z")
    );
    let small = first.bug.small.clone().expect("it was shrunk");
    let other =
        Finding { small: Some(Small { minimality: Minimality::Minimal, ..small.clone() }), ..finding(plan(2), None) };
    let other = base.add(other).expect("can be written");
    assert_eq!((other.is_new, other.bug.count), (false, 3));
    assert_eq!(other.bug.small.expect("is kept").minimality, Minimality::Minimal, "now that is known");
    assert!(!base.add(finding(small.plan, None)).expect("can be written").is_new);
    assert_eq!(base.contents().expect("can be read").bugs.len(), 1);

    // Another property, or another plan, is another bug.
    let elsewhere = Finding { property: "no_panic".to_owned(), ..finding(plan(1), None) };
    assert!(base.add(elsewhere).expect("can be written").is_new);
    assert!(base.add(finding(plan(3), None)).expect("can be written").is_new);
    assert_eq!(base.contents().expect("can be read").bugs.len(), 3);
}

#[test]
fn a_smaller_plan_replaces_a_larger_one_and_never_the_other_way() {
    let directory = Directory::new("smaller");
    let base = directory.base();
    let bug = base.add(finding(plan(1), Some((5, Minimality::Minimal)))).expect("can be written").bug;
    let small = |operations| finding(plan(1), Some((operations, Minimality::TimeRanOut))).small.expect("is there");
    base.keep_small(bug.clone(), small(7)).expect("can be written");
    assert_eq!(base.get(&bug.id).expect("is there").smallest().operations.len(), 5);
    base.keep_small(bug.clone(), small(2)).expect("can be written");
    assert_eq!(base.get(&bug.id).expect("is there").smallest().operations.len(), 2);
}

#[test]
fn a_file_of_another_version_or_none_at_all_is_refused_with_a_sentence_and_spoils_nothing() {
    let directory = Directory::new("version");
    let base = directory.base();
    let added = base.add(finding(plan(1), None)).expect("can be written");
    let text = fs::read_to_string(&added.path).expect("can be read");
    let newer = added.path.with_file_name("newer.json");
    fs::write(&newer, text.replacen("\"version\": 1", "\"version\": 2", 1)).expect("can be written");
    fs::write(added.path.with_file_name("plan.json"), plan(1).to_json()).expect("can be written");
    fs::write(added.path.with_file_name("notes.txt"), "not of the base").expect("can be written");
    let contents = base.contents().expect("can be read");
    assert_eq!(contents.bugs, [added.bug]);
    let [version, malformed] = &contents.unreadable[..] else { panic!("two are none: {:?}", contents.unreadable) };
    assert!(matches!(version, BugBaseError::Version { found: 2, .. }), "{version}");
    assert!(version.to_string().contains("use the program that wrote it"), "{version}");
    assert!(matches!(malformed, BugBaseError::Malformed { .. }), "{malformed}");
}

#[test]
fn an_id_that_is_not_there_or_means_several_is_told_so() {
    let directory = Directory::new("ids");
    let base = directory.base();
    for seed in 1..=20 {
        base.add(finding(plan(seed), None)).expect("can be written");
    }
    for id in ["bug-", "bug-zz", "", "b", "42"] {
        assert!(matches!(base.get(id), Err(BugBaseError::Unknown { .. })), "{id:?}");
    }
    let bugs = base.contents().expect("can be read").bugs;
    let twice = bugs.iter().find(|bug| bugs.iter().filter(|other| other.id[..5] == bug.id[..5]).count() > 1);
    let beginning = &twice.expect("twenty ids, sixteen digits").id[..5];
    let error = base.get(beginning).expect_err("several begin like that");
    assert!(error.to_string().contains("write more of it"), "{error}");
}
