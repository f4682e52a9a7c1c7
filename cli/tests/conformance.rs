//! Every store that comes with Dacapo passes the one suite.

use dacapo_backends::{MemoryStore, SqliteStore, sqlite::Options};
use dacapo_core::store::Store;
use dacapo_properties::conformance;

#[test]
fn the_memory_store_conforms() {
    conformance::check(&mut || Box::new(MemoryStore::new()));
}

#[test]
fn the_sqlite_store_in_memory_conforms() {
    conformance::check(&mut || Box::new(SqliteStore::open_in_memory().expect("memory is there")));
}

#[test]
fn the_sqlite_store_in_a_file_conforms() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    drop(std::fs::remove_dir_all(&directory));
    std::fs::create_dir_all(&directory).expect("the target directory can be written to");
    let mut number = 0;
    let options = Options { synchronous: dacapo_backends::sqlite::Synchronous::Off, ..Options::default() };
    conformance::check(&mut || {
        number += 1;
        let path = directory.join(format!("{number}.db"));
        let store = SqliteStore::open_with(path, options.clone()).expect("the file can be made");
        Box::new(store) as Box<dyn Store>
    });
}
