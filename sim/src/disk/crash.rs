//! Crash runs of the store.

#[cfg(test)]
mod tests {
    use dacapo_backends::sqlite::Options;
    use dacapo_core::store::{Commit, Reader as _, ServiceRecord, Store as _};
    use dacapo_core::{Position, ServiceName};

    use super::super::{Cut, Disk, Omissions};
    use crate::engine::chance::Chance;

    #[test]
    fn smoke() {
        for seed in 0..50 {
            let disk = Disk::new(&Chance::new(seed, None), Omissions::default());
            let mut store = disk.open(Options::default()).unwrap();
            for life in 0..4_u64 {
                let recovered = store.recover().unwrap();
                assert_eq!(recovered.services.len() as u64, life * 5);
                for sequence in 1..=5 {
                    let name = ServiceName::of(format!("service-{life}-{sequence}"));
                    let services = vec![ServiceRecord { name, types: Vec::new(), frontier: Position::ZERO }];
                    store.commit(&Commit { sequence, term: recovered.term, services, ..Commit::default() }).unwrap();
                }
                let mut reader = store.reader().unwrap();
                assert_eq!(reader.current_term().unwrap(), recovered.term);
                if seed % 3 == 0 {
                    disk.kill()
                } else {
                    disk.cut(Cut::default())
                }
                drop(reader);
                store = disk.open(Options::default()).unwrap();
            }
        }
    }
}
