//! Stories of names, passwords and sessions.

use std::sync::atomic::{AtomicU64, Ordering};

use dacapo_core::time::{Now, Timestamp, WallTime};

use super::*;

/// A clock that a test moves.
#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Now {
        let us = self.0.load(Ordering::Relaxed);
        Now { monotonic: Timestamp(us), wall: WallTime(us) }
    }
}

fn ada() -> UserId {
    UserId::new("ada").unwrap()
}

fn in_memory(story: impl AsyncFnOnce(&Vault, &Hands)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hands = Arc::new(Hands::default());
    let vault = Vault::open(None, Arc::clone(&hands) as Arc<dyn Clock>).unwrap();
    runtime.block_on(story(&vault, &hands));
}

#[test]
fn a_name_belongs_to_whoever_made_it_a_user_first() {
    in_memory(async |vault, _| {
        let person = vault.sign_up(&ada(), "Ada", "a long password".to_owned()).await.unwrap().unwrap();
        assert!(!person.is_made);
        // Nobody knows what became of the user: the same person goes on, with the same claim; another does not.
        let again = vault.sign_up(&ada(), "Ada", "a long password".to_owned()).await.unwrap();
        assert_eq!(again.as_ref(), Some(&person));
        assert_eq!(vault.sign_up(&ada(), "Ada", "another password".to_owned()).await.unwrap(), None);
        vault.made(&ada()).await.unwrap();
        assert_eq!(vault.sign_up(&ada(), "Ada", "a long password".to_owned()).await.unwrap(), None);
        vault.give_back(&person).await.unwrap();
        assert!(vault.check(&ada(), "a long password".to_owned()).await.unwrap().is_some(), "a user keeps the name");
    });
}

#[test]
fn only_the_right_password_is_let_in() {
    in_memory(async |vault, _| {
        vault.sign_up(&ada(), "Ada", "a long password".to_owned()).await.unwrap();
        assert!(vault.check(&ada(), "a long password".to_owned()).await.unwrap().is_some());
        for password in ["", "a long passwore", "A long password"] {
            assert_eq!(vault.check(&ada(), password.to_owned()).await.unwrap(), None);
        }
        let nobody = UserId::new("nobody").unwrap();
        assert_eq!(vault.check(&nobody, "a long password".to_owned()).await.unwrap(), None);
    });
}

#[test]
fn a_session_ends_when_it_is_told_to_or_its_time_is_over() {
    in_memory(async |vault, hands| {
        vault.sign_up(&ada(), "Ada", "a long password".to_owned()).await.unwrap();
        let (one, other) = (vault.begin(&ada()).await.unwrap(), vault.begin(&ada()).await.unwrap());
        assert_eq!(vault.who(one.kept()).await.unwrap(), Some((ada(), "Ada".to_owned())));
        vault.end(one.kept()).await.unwrap();
        assert_eq!(vault.who(one.kept()).await.unwrap(), None);
        hands.0.store(SESSION.as_micros() as u64 - 1, Ordering::Relaxed);
        assert!(vault.who(other.kept()).await.unwrap().is_some());
        hands.0.store(SESSION.as_micros() as u64, Ordering::Relaxed);
        assert_eq!(vault.who(other.kept()).await.unwrap(), None);
    });
}

#[test]
fn neither_a_password_nor_a_session_can_be_read_out_of_the_file() {
    in_memory(async |vault, _| {
        vault.sign_up(&ada(), "Ada", "a long password".to_owned()).await.unwrap();
        let secret = vault.begin(&ada()).await.unwrap();
        let read = |connection: &Connection| {
            let password: String = connection.query_row("SELECT password FROM users", [], |row| row.get(0))?;
            let kept: Kept = connection.query_row("SELECT kept FROM sessions", [], |row| row.get(0))?;
            Ok((password, kept))
        };
        let (password, kept) = vault.desk.ask(read).await.unwrap();
        assert!(password.starts_with("$argon2id$") && !password.contains("long"), "{password}");
        assert_ne!(
            Secret::parse(secret.as_str()).map(|secret| secret.as_str().as_bytes().to_vec()),
            Some(kept.to_vec())
        );
    });
}

#[test]
fn a_user_s_oldest_session_makes_room_for_a_new_one() {
    in_memory(async |vault, hands| {
        vault.sign_up(&ada(), "Ada", "a long password".to_owned()).await.unwrap();
        let first = vault.begin(&ada()).await.unwrap();
        for number in 1..=u64::from(SESSIONS_MAX) {
            hands.0.store(number, Ordering::Relaxed);
            vault.begin(&ada()).await.unwrap();
        }
        assert_eq!(vault.who(first.kept()).await.unwrap(), None);
    });
}
