//! Tidiness is a test: what the documents say of the tree is true of the tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use toml::Table;

/// Beyond this a file holds more than one idea.
const LINES_MAX: usize = 700;

/// Each room, and which others it may know; tests and benches too.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("service", &["core"]),
    ("backends", &["core"]),
    ("properties", &["core", "service"]),
    ("bank", &["core", "service", "properties"]),
    ("sim", &["core", "service", "backends", "properties"]),
    ("reporting", &["core", "backends"]),
    ("web", &["core", "service", "backends", "properties", "bank", "reporting"]),
    ("cli", &["core", "service", "backends", "properties", "bank", "sim", "reporting", "web"]),
    ("benches", &["core", "service", "backends", "properties", "bank", "sim"]),
    ("seats", &["service", "properties", "sim"]),
];

/// Packages that are no members of the workspace: what they are compared with must not come into its lock file.
const APART: &[&str] = &["benches/peers", "benches/compare"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(room: &str) -> Table {
    read(format!("{room}/Cargo.toml")).parse().expect("is TOML")
}

/// Every file below the root that git would take, by its path from there.
fn files() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("can be read") {
            let path = entry.expect("can be read").path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let of_fuzzers =
                directory.ends_with("fuzz") && matches!(name.as_str(), "corpus" | "artifacts" | "coverage");
            let ignored = matches!(name.as_str(), "target" | ".git" | ".dacapo") || name.contains(".db") || of_fuzzers;
            if ignored {
            } else if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.iter().map(|path| path.strip_prefix(root()).expect("is below").to_owned()).collect()
}

fn rust_files() -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn arrows_between_rooms_point_one_way() {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let workspace: Table = read("Cargo.toml").parse().expect("is TOML");
    let members: BTreeSet<&str> = workspace["workspace"]["members"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|member| member.as_str().expect("a name"))
        .collect();
    assert_eq!(members, rooms, "every room has its arrows");
    let by_package: BTreeMap<String, &str> = ARROWS
        .iter()
        .map(|(room, _)| (manifest(room)["package"]["name"].as_str().expect("a name").to_owned(), *room))
        .collect();
    for (room, may) in ARROWS {
        let manifest = manifest(room);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(|section| section.as_table()) else { continue };
            for (name, value) in dependencies {
                if let Some(other) = by_package.get(name) {
                    assert!(may.contains(other), "{room} may not know {other} ({section})");
                }
                let inherited = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "{room}: the version of {name} belongs into the workspace's Cargo.toml");
            }
        }
    }
}

#[test]
fn only_the_binary_forwards_the_planted_bugs() {
    for (room, _) in ARROWS {
        let manifest = manifest(room);
        let Some(features) = manifest.get("features").and_then(|features| features.as_table()) else { continue };
        let default = features.get("default").map(ToString::to_string).unwrap_or_default();
        assert!(!default.contains("planted"), "{room} plants bugs by default");
        assert!(
            ["core", "cli"].contains(room) || !features.contains_key("planted-bugs"),
            "{room} forwards the planted bugs"
        );
    }
}

#[test]
fn there_is_one_binary_and_no_build_script() {
    let mains: Vec<PathBuf> = files()
        .into_iter()
        .filter(|path| APART.iter().all(|apart| !path.starts_with(apart)))
        .filter(|path| path.ends_with("src/main.rs") || path.to_string_lossy().contains("src/bin/"))
        .collect();
    assert_eq!(mains, [PathBuf::from("cli/src/main.rs")]);
    for (room, _) in ARROWS {
        assert!(!root().join(room).join("build.rs").exists(), "{room} has a build script");
        assert!(!manifest(room).contains_key("bin"), "{room} declares a binary");
    }
}

#[test]
fn a_file_is_one_idea() {
    for path in rust_files() {
        let lines = read(&path).lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines; split it", path.display());
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for path in rust_files() {
        let text = read(&path);
        // A module of tests that belongs to another file may do without.
        let begins = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(begins.starts_with("//!"), "{} does not say what it is for", path.display());
    }
}

#[test]
fn every_file_is_reached_from_its_crate() {
    let all: BTreeSet<PathBuf> = rust_files().into_iter().collect();
    let mut reached = BTreeSet::new();
    let roots = all.iter().filter(|path| {
        let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [_, "tests" | "benches" | "examples", name] => name != "mod.rs",
            [_, "src", "lib.rs" | "main.rs"]
            | ["fuzz", "fuzz_targets", _]
            | [_, "tests", _, "main.rs"]
            | ["benches", "peers" | "compare", _, "src", "main.rs"] => true,
            _ => false,
        }
    });
    let mut open: Vec<PathBuf> = roots.cloned().collect();
    while let Some(path) = open.pop() {
        if !reached.insert(path.clone()) {
            continue;
        }
        let directory = path.parent().expect("has one");
        let stem = path.file_stem().expect("has one").to_string_lossy().into_owned();
        let is_root = matches!(stem.as_str(), "lib" | "main" | "mod")
            || directory.ends_with("tests")
            || directory.ends_with("benches")
            || directory.ends_with("examples");
        let below = if is_root { directory.to_owned() } else { directory.join(&stem) };
        let text = read(&path);
        open.extend(paths(&text).into_iter().map(|path| directory.join(path)).filter(|path| all.contains(path)));
        for name in modules(&text) {
            for candidate in [below.join(format!("{name}.rs")), below.join(&name).join("mod.rs")] {
                if all.contains(&candidate) {
                    open.push(candidate);
                }
            }
        }
    }
    let dead: Vec<_> = all.difference(&reached).collect();
    assert!(dead.is_empty(), "nobody has these as a module: {dead:?}");
}

/// The files that `#[path = "…"]` names.
fn paths(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]")).collect()
}

/// The names of `mod name;`, inline modules' ones too.
fn modules(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim().strip_suffix(';')?;
            let (before, name) = line.rsplit_once("mod ")?;
            let visibility = before.is_empty() || before.starts_with("pub");
            (visibility && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then(|| name.to_owned())
        })
        .collect()
}

#[test]
fn nothing_names_what_a_stranger_does_not_have() {
    // Spelt in two parts, so that this file does not name them either.
    let forbidden = [["/wo", "rk/"], ["../sh", "ared"], ["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["/tm", "p/"]]
        .map(|parts| parts.concat());
    for path in files() {
        if path.extension().is_some_and(|extension| extension == "lock") {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for word in &forbidden {
            assert!(!text.contains(word.as_str()), "{} contains {word:?}", path.display());
        }
    }
}

#[test]
fn every_promise_has_a_file() {
    let text = read("ARCHITECTURE.md");
    let (_, promised) = text.split_once("## What is promised").expect("the promises have a section");
    let (promised, _) = promised.split_once("\n## ").expect("other sections follow");
    let rows: Vec<&str> = promised.lines().filter(|line| line.ends_with(".rs` |")).collect();
    assert!(rows.len() >= 13, "thirteen promises have a row each: {rows:?}");
    for row in rows {
        let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let [name, .., file] = quoted[..] else { panic!("a row names the promise and its file: {row}") };
        assert!(read(file).contains(&format!("\"{name}\"")), "{file} does not hold {name}");
    }
    for directory in promised.split('`').filter(|text| text.ends_with('/')) {
        assert!(root().join(directory).is_dir(), "{directory} is not there");
    }
}

#[test]
fn every_path_in_the_documents_exists() {
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = read(document);
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.starts_with("http") {
                assert!(root().join(target).exists(), "{document} links to {target}, which is not there");
            }
        }
    }
}

#[test]
fn what_a_project_owes_its_users_is_there() {
    assert!(read("CHANGELOG.md").contains("## Unreleased"));
    assert!(read("LICENSE-MIT").contains("The Dacapo authors"));
    assert!(read("LICENSE-APACHE").contains("END OF TERMS AND CONDITIONS"));
    assert!(root().join("Cargo.lock").exists(), "a binary's dependencies are pinned");
}

#[test]
fn every_mark_in_the_list_is_named_by_a_machine() {
    let list = fs::read_to_string(root().join("core/src/marks.rs")).expect("is there");
    for (room, folder) in [("bus", "core/src/bus"), ("instance", "service/src/instance")] {
        let mut sources = String::new();
        for file in fs::read_dir(root().join(folder)).expect("is there") {
            let path = file.expect("can be listed").path();
            if path.is_file() {
                sources.push_str(&fs::read_to_string(path).expect("is text"));
            }
        }
        let (_, rest) = list.split_once(&format!("    {room} {{")).expect("the room is there");
        let (marks, _) = rest.split_once("\n    }").expect("it ends");
        let names = marks.lines().filter_map(|line| line.trim().split_once(" = \"").map(|(name, _)| name));
        let mut count = 0;
        for name in names {
            assert!(sources.contains(&format!("marks::{name}")), "no machine reaches {name}");
            count += 1;
        }
        assert!(count > 8, "{count} marks of {room} were looked at");
    }
}
