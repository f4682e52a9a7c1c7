//! The backend without a browser: its routes are called directly, with a real bus and the real services behind them.

mod support;

use std::time::Duration;

use axum::http::StatusCode;
use dacapo_web::{SiteConfig, limiter::Pace};
use support::{PASSWORD, PATIENCE, at_a_bank};

#[test]
fn a_request_is_answered_with_its_outcome_and_takes_effect_once_however_often_it_is_sent() {
    at_a_bank(SiteConfig::default(), async |bank| {
        let (mut ada, mut bob) = (bank.visitor(), bank.visitor());
        ada.with_money("ada", "100").await;
        bob.with_money("bob", "0.01").await;
        let pay = [("account", "ada-purse"), ("to", "bob-purse"), ("amount", "30"), ("reference", "rent")];
        for _ in 0..3 {
            let outcome = ada.ask("/pay", 7, &pay).await;
            assert_eq!(
                (&outcome["outcome"], &outcome["sentence"]),
                (&"accepted".into(), &"£30.00 sent to bob-purse.".into())
            );
        }
        assert_eq!((ada.balance().await, bob.balance().await), (7_000, 3_001));
        for _ in 0..2 {
            let outcome = ada.ask("/withdraw", 8, &[("account", "ada-purse"), ("amount", "1")]).await;
            assert_eq!(outcome["outcome"], "accepted");
        }
        assert_eq!(ada.balance().await, 6_900);
        // The same id for something else is no way to change what was asked for.
        let other = ada.ask("/withdraw", 8, &[("account", "ada-purse"), ("amount", "2")]).await;
        assert_eq!(other["outcome"], "rejected", "{other}");
        assert_eq!(ada.balance().await, 6_900);
    });
}

#[test]
fn what_cannot_be_is_rejected_with_its_reason_and_changes_nothing() {
    at_a_bank(SiteConfig::default(), async |bank| {
        let (mut ada, mut bob) = (bank.visitor(), bank.visitor());
        ada.with_money("ada", "100").await;
        bob.with_money("bob", "5").await;
        let too_much = [("account", "ada-purse"), ("to", "bob-purse"), ("amount", "100.01")];
        let nobody = [("account", "ada-purse"), ("to", "eve-purse"), ("amount", "1")];
        let itself = [("account", "ada-purse"), ("to", "ada-purse"), ("amount", "1")];
        let stolen = [("account", "bob-purse"), ("to", "ada-purse"), ("amount", "1")];
        let strange = [("account", "ada-purse"), ("to", "../bob"), ("amount", "1")];
        let nothing = [("account", "ada-purse"), ("to", "bob-purse"), ("amount", "0")];
        for (number, (fields, reason)) in [
            (too_much, "insufficient_funds"),
            (nobody, "unknown_recipient"),
            (itself, "self_transfer"),
            (stolen, "account"),
            (strange, "recipient"),
            (nothing, "amount"),
        ]
        .iter()
        .enumerate()
        {
            let outcome = ada.ask("/pay", 20 + number as u64, fields).await;
            assert_eq!((&outcome["outcome"], &outcome["reason"]), (&"rejected".into(), &(*reason).into()), "{outcome}");
            assert!(outcome["sentence"].as_str().is_some_and(|sentence| sentence.ends_with('.')), "{outcome}");
        }
        let withdraw = ada.ask("/withdraw", 40, &[("account", "ada-purse"), ("amount", "101")]).await;
        assert_eq!(withdraw["reason"], "insufficient_funds");
        assert_eq!(ada.ask("/deposit", 41, &[("account", "bob-purse"), ("amount", "1")]).await["reason"], "account");
        assert_eq!(ada.ask("/open", 42, &[("name", "Purse")]).await["reason"], "taken");
        assert_eq!(ada.ask("/open", 43, &[("name", "!!")]).await["reason"], "name");
        assert_eq!((ada.balance().await, bob.balance().await), (10_000, 500));
    });
}

#[test]
fn nobody_sees_what_is_not_theirs() {
    at_a_bank(SiteConfig::default(), async |bank| {
        let (mut ada, mut bob, mut nobody) = (bank.visitor(), bank.visitor(), bank.visitor());
        ada.with_money("ada", "123.45").await;
        bob.with_money("bob", "5").await;
        assert!(ada.get("/accounts/ada-purse").await.body.contains("£123.45"));
        for path in ["/", "/init", "/accounts/bob-purse"] {
            let answer = bob.get(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert!(!answer.body.contains("123.45") && !answer.body.contains("12345"), "{path}: {}", answer.body);
        }
        assert_eq!(bob.get("/accounts/ada-purse").await.status, StatusCode::NOT_FOUND);
        assert_eq!(
            bob.get("/accounts/not-there").await.status,
            StatusCode::NOT_FOUND,
            "the same as for one that is not"
        );
        assert_eq!(nobody.get("/init").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(nobody.get("/accounts/ada-purse").await.status, StatusCode::SEE_OTHER);
        assert_eq!(nobody.get("/live").await.status.as_u16() / 100, 4);
    });
}

#[test]
fn forms_of_other_pages_other_sessions_and_other_sites_are_refused() {
    at_a_bank(SiteConfig::default(), async |bank| {
        let mut ada = bank.visitor();
        ada.with_money("ada", "10").await;
        let own = ada.token.clone();
        let request = format!("{:032x}", 9);
        let fields =
            |token| [("token", token), ("request", request.as_str()), ("account", "ada-purse"), ("amount", "1")];
        let mut other = bank.visitor();
        other.get("/").await;
        for token in ["", "00", other.token.as_str()] {
            let answer = ada.post_as("/withdraw", &fields(token), &[]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}");
        }
        let foreign = [("origin", "http://evil.example")];
        assert_eq!(ada.post_as("/withdraw", &fields(&own), &foreign).await.status, StatusCode::FORBIDDEN);
        let borrowed = [("host", "evil.example")];
        assert_eq!(ada.get_as("/", &borrowed).await.status, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(ada.balance().await, 1_000);
        let ours = [("origin", "http://127.0.0.1:1")];
        assert_eq!(ada.post_as("/withdraw", &fields(&own), &ours).await.status, StatusCode::SEE_OTHER);
        assert_eq!(ada.balance().await, 900);
    });
}

#[test]
fn a_session_is_begun_anew_at_the_log_in_and_over_after_the_log_out() {
    at_a_bank(SiteConfig { is_secure: true, ..SiteConfig::default() }, async |bank| {
        let mut ada = bank.visitor();
        let first = ada.get("/").await;
        let cookie = first.headers["set-cookie"].to_str().unwrap().to_owned();
        for word in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age="] {
            assert!(cookie.contains(word), "{cookie}");
        }
        let visit = ada.cookie.clone();
        ada.post("/sign-up", &[("name", "Ada"), ("password", PASSWORD)]).await;
        assert_ne!(ada.cookie, visit, "nobody can have prepared the session");
        assert!(ada.get("/").await.body.contains("Good to see you, ada"));
        let session = ada.cookie.clone();
        ada.post("/log-out", &[]).await;
        ada.cookie = session;
        assert_eq!(ada.get("/init").await.status, StatusCode::UNAUTHORIZED, "the server has forgotten it, too");
    });
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_answered_alike_and_not_for_ever() {
    let pace = Pace { tries: 3, every: Duration::from_secs(600) };
    at_a_bank(SiteConfig { log_ins_of_name: pace, ..SiteConfig::default() }, async |bank| {
        bank.visitor().sign_up("ada").await;
        let mut eve = bank.visitor();
        eve.get("/").await;
        let wrong = eve.post("/log-in", &[("name", "ada"), ("password", "guessed guessed")]).await;
        let unknown = eve.post("/log-in", &[("name", "nemo"), ("password", "guessed guessed")]).await;
        assert_eq!((wrong.status, unknown.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
        assert_eq!(wrong.body.replace("ada", "nemo"), unknown.body);
        for _ in 0..2 {
            eve.post("/log-in", &[("name", "ada"), ("password", "guessed guessed")]).await;
        }
        let late = eve.post("/log-in", &[("name", "ada"), ("password", PASSWORD)]).await;
        assert_eq!(late.status, StatusCode::TOO_MANY_REQUESTS, "even the right one must wait");
        assert!(late.body.contains("Wait "), "{}", late.body);
        let taken = eve.post("/sign-up", &[("name", "ada"), ("password", PASSWORD)]).await;
        assert_eq!(taken.status, StatusCode::CONFLICT);
        let short = eve.post("/sign-up", &[("name", "eve"), ("password", "short")]).await;
        assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn books_that_were_lost_are_read_again_and_nobody_is_shown_half_of_them() {
    at_a_bank(SiteConfig::default(), async |bank| {
        let mut ada = bank.visitor();
        ada.with_money("ada", "100").await;
        ada.ask("/withdraw", 9, &[("account", "ada-purse"), ("amount", "58")]).await;
        let before = ada.get("/init").await.json();
        bank.lose_the_books().await;
        assert!(bank.books.read(|_, _| ()).is_none(), "there is nothing that could be shown");
        let early = tokio::time::timeout(Duration::from_millis(200), ada.get("/init")).await;
        assert!(early.is_err(), "whoever asks waits");
        bank.follow();
        let caught_up = bank.books.until(PATIENCE, |_| Some(())).await;
        assert!(caught_up.is_some());
        assert_eq!(ada.get("/init").await.json(), before);
    });
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it_and_names_are_text() {
    at_a_bank(SiteConfig::default(), async |bank| {
        let mut ada = bank.visitor();
        ada.with_money("ada", "100").await;
        let name = "<b>x</b>";
        let outcome = ada.ask("/open", 60, &[("name", name)]).await;
        assert_eq!(outcome["outcome"], "accepted", "{outcome}");
        let answer = ada.get("/").await;
        assert!(answer.body.contains("&lt;b&gt;x&lt;/b&gt;") && !answer.body.contains(name), "{}", answer.body);
        for path in ["/", "/init", "/bank.js", "/bank.css", "/nowhere", "/accounts/zzz"] {
            let answer = ada.get(path).await;
            let policy = answer.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        }
        assert_eq!(ada.get("/init").await.headers["cache-control"], "no-store");
        assert_eq!(ada.get("/audit").await.status, StatusCode::NOT_FOUND, "only where faults happen");
    });
}

#[test]
fn a_statement_goes_back_to_its_first_entry_and_its_balances_are_right() {
    at_a_bank(SiteConfig::default(), async |bank| {
        let mut ada = bank.visitor();
        ada.with_money("ada", "1").await;
        for number in 0..90 {
            let (path, amount) = if number % 3 == 2 { ("/withdraw", "0.50") } else { ("/deposit", "1.00") };
            let outcome = ada.ask(path, 100 + number, &[("account", "ada-purse"), ("amount", amount)]).await;
            assert_eq!(outcome["outcome"], "accepted", "{outcome}");
        }
        let first = ada.get("/init").await.json()["accounts"][0].clone();
        let (mut entries, mut more) = (first["entries"].as_array().unwrap().clone(), first["more"].clone());
        let mut pages = 1;
        while more == true {
            let before = entries.last().unwrap()["position"].as_u64().unwrap();
            let path = format!("/accounts/ada-purse/earlier?before={before}");
            let page = ada.get_as(&path, &[("accept", "application/json")]).await.json();
            entries.extend(page["entries"].as_array().unwrap().clone());
            more = page["more"].clone();
            pages += 1;
            let shown = ada.get(&path).await;
            assert_eq!(shown.body.matches("class=\"entry\"").count(), page["entries"].as_array().unwrap().len() + 1);
        }
        assert_eq!((entries.len(), pages), (91, 3));
        let mut balance = 0;
        for entry in entries.iter().rev() {
            let pence = entry["pence"].as_i64().unwrap();
            balance += if entry["direction"] == "credit" { pence } else { -pence };
            assert_eq!(entry["balance"].as_i64(), Some(balance), "{entry}");
        }
        let mut bob = bank.visitor();
        bob.sign_up("bob").await;
        assert_eq!(bob.get("/accounts/ada-purse/earlier?before=99").await.status, StatusCode::NOT_FOUND);
    });
}
