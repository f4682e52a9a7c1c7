//! The pages over a store: what they say, that no link leads nowhere, and that nothing is written.

mod support;

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
};

use serde_json::json;
use support::{Book, Scratch, get, links, page, site, small_bank};

#[test]
fn no_link_leads_nowhere() {
    let scratch = Scratch::new("links");
    let _book = small_bank(&scratch.path("bank.db"));
    let mut site = site(&scratch.path("bank.db"));
    let mut seen: BTreeSet<String> = BTreeSet::from(["/".to_owned()]);
    let mut open: VecDeque<String> = seen.iter().cloned().collect();
    while let Some(target) = open.pop_front() {
        let reply = get(&mut site, &target);
        assert!(reply.status < 400, "{target} answers {}", reply.status);
        for link in links(&reply.body).into_iter().chain(reply.location) {
            if seen.insert(link.clone()) {
                open.push_back(link);
            }
        }
    }
    for part in
        ["/event/", "/correlation/", "/key/", "/service/", "/closure/", "/trace-money", "/map", "view=lanes", "as=dot"]
    {
        assert!(seen.iter().any(|link| link.contains(part)), "nothing leads to {part}");
    }
    assert!(seen.len() > 80, "{} pages", seen.len());
}

#[test]
fn the_overview_says_what_needs_attention() {
    let scratch = Scratch::new("overview");
    let _book = small_bank(&scratch.path("bank.db"));
    let body = page(&mut site(&scratch.path("bank.db")), "/");
    for text in
        ["1 lane is parked", "the handler panicked", "1 handling", "took more than one attempt", "Slowest correlations"]
    {
        assert!(body.contains(text), "{text}");
    }
}

#[test]
fn why_a_transfer_was_rejected_is_two_clicks_away() {
    let scratch = Scratch::new("rejected");
    let _book = small_bank(&scratch.path("bank.db"));
    let mut site = site(&scratch.path("bank.db"));
    let found = page(&mut site, "/events?q=type:Rejected*");
    let event = links(&found).into_iter().find(|link| link.starts_with("/event/")).expect("it is found");
    let body = page(&mut site, &event);
    assert!(body.contains("insufficient_funds") && body.contains("alice holds 200 pence"));
    assert!(body.contains("PendingTransaction"), "its cause stands beside it");
}

#[test]
fn everything_that_came_of_a_deposit_is_followed_to_the_outside() {
    let scratch = Scratch::new("money");
    let _book = small_bank(&scratch.path("bank.db"));
    let mut site = site(&scratch.path("bank.db"));
    let forwards = page(&mut site, "/trace-money?event=e-1");
    // 300 of the 500 went to bob, 250 of these to carol, and out.
    for text in ["alice", "bob", "carol", "outside", "3 moves"] {
        assert!(forwards.contains(text), "{text}");
    }
    let backwards = page(&mut site, "/trace-money?account=carol&way=backwards");
    for text in ["bob", "alice", "outside", "3 moves"] {
        assert!(backwards.contains(text), "{text}");
    }
    let across = page(&mut site, "/closure/e-1?across=1");
    assert!(
        across.contains("RejectedTransaction") || across.contains("ConfirmedDebit"),
        "keys tie correlations together"
    );
    assert!(page(&mut site, "/closure/e-2").contains("3 after it"));
}

#[test]
fn who_handled_a_key_and_what_it_held_stands_beside_each_event() {
    let scratch = Scratch::new("key");
    let _book = small_bank(&scratch.path("bank.db"));
    let body = page(&mut site(&scratch.path("bank.db")), "/key/acc-alice");
    assert!(body.contains("accounts-0"), "the instance");
    assert!(body.contains("+500") && body.contains("-300"), "the changes");
    assert!(body.contains("200 pence"), "the balance");
}

#[test]
fn filters_hide_and_say_what_they_do_not_understand() {
    let scratch = Scratch::new("filters");
    let _book = small_bank(&scratch.path("bank.db"));
    let mut site = site(&scratch.path("bank.db"));
    let rows = |body: &str| body.matches("<tr data-p=").count();
    assert_eq!(rows(&page(&mut site, "/events?q=key:acc-*")), 6);
    assert_eq!(rows(&page(&mut site, "/events?q=key:acc-* -type:*Debit")), 3);
    assert_eq!(rows(&page(&mut site, "/events?q=pence>400")), 2);
    assert_eq!(rows(&page(&mut site, "/events?q=status:redelivered")), 1);
    assert_eq!(rows(&page(&mut site, "/events?q=status:parked")), 1);
    assert_eq!(rows(&page(&mut site, "/events?q=after:20ms before:25ms")), 2);
    let refused = page(&mut site, "/events?q=colour:red");
    assert!(refused.contains("there is no field") && refused.contains("role=\"alert\""));
    let within = page(&mut site, "/correlation/c-2?q=type:Confirmed*");
    assert!(within.contains("2 hidden") && !within.contains(">AcceptedTransaction<"));
}

#[test]
fn payloads_are_text_whatever_they_say() {
    let scratch = Scratch::new("escape");
    let _book = small_bank(&scratch.path("bank.db"));
    let mut site = site(&scratch.path("bank.db"));
    for target in ["/", "/events", "/event/e-12", "/key/acc-carol", "/events?q=%3Cscript%3E", "/nowhere/%3Cscript%3E"] {
        let body = get(&mut site, target).body;
        assert!(!body.contains("<script>"), "{target}");
    }
    assert!(page(&mut site, "/event/e-12").contains("&lt;script&gt;"));
}

#[test]
fn turning_pages_shows_every_event_once_in_both_directions() {
    let scratch = Scratch::new("paging");
    let path = scratch.path("long.db");
    let mut book = Book::new(&path);
    for number in 0..500_u64 {
        book.event(
            number * 1_000,
            ["Odd", "Even"][(number % 2) as usize],
            &format!("k-{}", number % 9),
            "someone",
            None,
            &json!({"n": number}),
        );
    }
    book.commit();
    let mut site = site(&path);
    for (query, count) in [("", 500), ("type:Odd", 250), ("n>440", 59), ("\"nothing like it\"", 0)] {
        for (first, rel) in [("", "next"), ("&at=oldest", "prev")] {
            let mut target = format!("/events?q={}{first}", query.replace('"', "%22").replace('>', "%3E"));
            let mut seen = Vec::new();
            for _ in 0..100 {
                let body = page(&mut site, &target);
                seen.extend(
                    body.split("<tr data-p=\"").skip(1).filter_map(|row| row.split('"').next()?.parse::<u64>().ok()),
                );
                let next = body
                    .split("<a href=\"")
                    .skip(1)
                    .find(|link| link.split('>').next().is_some_and(|tag| tag.contains(&format!("rel=\"{rel}\""))));
                match next.and_then(|link| link.split('"').next()) {
                    Some(link) => target = link.replace("&amp;", "&"),
                    None => break,
                }
            }
            let unique: BTreeSet<u64> = seen.iter().copied().collect();
            assert_eq!((seen.len(), unique.len()), (count, count), "{query} {first}");
        }
    }
}

#[test]
fn a_correlation_of_ten_thousand_is_folded_and_nothing_is_left_out() {
    let scratch = Scratch::new("large");
    let path = scratch.path("large.db");
    let mut book = Book::new(&path);
    let root = book.event(0, "Imported", "import-1", "someone", None, &json!({}));
    for number in 1..10_000_u64 {
        let cause = if number % 7 == 0 { root } else { (number / 3).max(1) };
        book.event(number, "RowRead", &format!("row-{}", number % 97), "someone", Some(cause), &json!({}));
    }
    book.commit();
    let mut site = site(&path);
    let body = page(&mut site, "/correlation/c-1");
    assert!(body.matches("class=\"node").count() <= 2_000, "it is folded");
    let folded: u64 = body
        .split("class=\"name\">▸ ".to_owned().replace("class=\"name\">", "").as_str())
        .skip(1)
        .filter_map(|text| text.split(' ').next()?.replace(',', "").parse::<u64>().ok())
        .sum();
    let shown = body.matches("data-p=\"").count() as u64 - body.matches("class=\"node fold").count() as u64;
    assert_eq!(folded + shown, 10_000, "{folded} folded, {shown} shown");
    assert!(page(&mut site, "/correlation/c-1?view=table&page=19").contains("of 10,000"));
}

#[test]
fn damaged_causes_are_loud() {
    let scratch = Scratch::new("damaged");
    let path = scratch.path("damaged.db");
    let mut book = Book::new(&path);
    book.event(0, "Stray", "k-1", "someone", Some(99), &json!({}));
    book.event(1, "Early", "k-2", "someone", Some(3), &json!({}));
    book.event(2, "Late", "k-3", "someone", Some(2), &json!({}));
    book.commit();
    let mut site = site(&path);
    let body = page(&mut site, "/correlation/c-lost");
    for text in ["orphan", "circle", "before its cause", "role=\"alert\""] {
        assert!(body.contains(text), "{text}");
    }
    assert!(page(&mut site, "/event/e-1").contains("Orphan"));
}

#[test]
fn looking_writes_nothing_and_a_writer_goes_on() {
    let scratch = Scratch::new("readonly");
    let path = scratch.path("bank.db");
    let mut book = small_bank(&path);
    let mut site = site(&path);
    let file = || fs::read(&path).expect("is there");
    let before = file();
    for target in ["/", "/events", "/map", "/correlation/c-2", "/key/acc-alice", "/trace-money?account=alice"] {
        page(&mut site, target);
    }
    assert_eq!(file(), before);
    book.event(50_000, "ConfirmedCredit", "acc-alice", "accounts", None, &json!({"why": "deposit", "pence": 1}));
    book.commit();
    assert!(page(&mut site, "/events").contains("13 events"), "what was committed meanwhile is seen");
    let live = site.live(&dacapo_reporting::ask::Ask::default(), dacapo_core::Position(12)).expect("follows");
    assert_eq!((live.rows.len(), live.reached.0), (1, 13));
    drop(book);
    let mut dead = support::site(&path);
    assert!(page(&mut dead, "/events").contains("13 events"), "the writer is gone, its log is not");
}

#[test]
fn what_is_not_there_is_told() {
    let scratch = Scratch::new("missing");
    let _book = small_bank(&scratch.path("bank.db"));
    let mut site = site(&scratch.path("bank.db"));
    for target in [
        "/event/none",
        "/correlation/none",
        "/key/none",
        "/service/none",
        "/run/none",
        "/in/none/events",
        "/at/99",
        "/nowhere",
        "/run/..%2F..",
        "/trace-money?event=none",
    ] {
        assert_eq!(get(&mut site, target).status, 404, "{target}");
    }
    for target in ["/events?before=soon", "/compare", "/trace-money?event=e-7"] {
        assert_eq!(get(&mut site, target).status, 400, "{target}");
    }
    assert!(page(&mut site, "/runs").contains("No run is recorded here"));
}
