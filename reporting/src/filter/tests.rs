//! The language: what is meant by what, and that writing and reading are inverse.

use dacapo_core::{CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Version, WallTime};
use proptest::{collection::vec, prelude::*};

use super::*;

fn event() -> Event {
    Event {
        position: Position(12),
        id: EventId::of("e-12"),
        event_type: EventType::of("ConfirmedDebit"),
        key: Key::of("acc-7"),
        version: Version(3),
        correlation: CorrelationId::of("c-1"),
        causation: Some(EventId::of("e-9")),
        time: WallTime(20_000_000),
        source: Source::of("accounts"),
        data: Data::from_text(r#"{"pence": 100, "note": "for the rent", "by": {"name": "carol"}}"#).expect("is JSON"),
        attributes: dacapo_core::Attributes::default(),
    }
}

fn filter(text: &str) -> Filter {
    Filter::parse(&[text]).expect(text)
}

fn matches(text: &str) -> bool {
    filter(text).matches(&event(), &Fared::default())
}

#[test]
fn terms_are_read_as_the_help_says() {
    for text in [
        "",
        "key:acc-7",
        "key:acc-*",
        "key:\"acc-7\"",
        "type:Confirmed*,Accepted*",
        "type:*Debit source:accounts",
        "corr:c-1 cause:e-9 id:e-12",
        "-key:acc-8 -type:Pending*",
        "\"the rent\"",
        "rent",
        "-\"the moon\"",
        "after:11 before:13",
        "after:1970-01-01T00:00:20Z",
        "-before:12",
        "!key:acc-8 !type:Pending*",
        "pence>99 pence>=100 pence<101 pence=100 pence!=99",
        "note=for* by.name=carol by.name!=dave",
        "-pence>100",
    ] {
        assert!(matches(text), "{text}");
    }
    for text in
        ["key:acc", "-key:acc-7", "type:Pending*", "cause:e-8", "after:12", "before:12", "moon", "pence>100", "sum=1"]
    {
        assert!(!matches(text), "{text}");
    }
}

#[test]
fn how_services_fared_is_asked_for_where_it_matters() {
    let fared =
        Fared { services: ["accounts".to_owned()].into(), statuses: [Status::Completed, Status::Redelivered].into() };
    let asks = |text: &str| filter(text).matches(&event(), &fared);
    assert!(asks("status:redelivered,parked service:acc*"));
    assert!(!asks("status:parked") && asks("-service:users"));
    assert!(filter("status:parked").needs_fared() && !filter("parked").needs_fared());
    assert!(filter("-status:parked,conflict").needs_trace() && !filter("status:parked conflict").needs_trace());
}

#[test]
fn times_since_the_first_event_are_resolved() {
    let mut later = filter("after:12.5s before:20s");
    assert!(later.needs_first());
    later.resolve(WallTime(5_000_000));
    assert!(later.matches(&event(), &Fared::default()));
    assert_eq!(later.query(None).expect("is one").from, Some(WallTime(17_500_000)));
    let mut earlier = filter("after:12.5s");
    earlier.resolve(WallTime(10_000_000));
    assert!(!earlier.matches(&event(), &Fared::default()));
}

#[test]
fn what_has_an_index_goes_to_the_store() {
    let query = filter("key:acc-7 type:A,B source:acc* -corr:x").query(None).expect("is one");
    assert_eq!(query.key, Some(Key::of("acc-7")));
    assert_eq!(query.types, [EventType::of("A"), EventType::of("B")]);
    assert_eq!((query.source, query.correlation), (None, None));
    let known = ["ConfirmedCredit", "ConfirmedDebit", "UserCreated"].map(EventType::of);
    let of_types = |text: &str| filter(text).query(Some(&known)).expect("is one").types;
    assert_eq!(of_types("type:Confirmed*"), known[..2]);
    assert_eq!(of_types("type:Nothing*").len(), 1, "no type is not every type");
    assert_eq!(filter("after:7 before:9 after:3").between(), (Position(7), Position(9)));
}

#[test]
fn what_is_no_filter_is_told_why() {
    let error = |text: &str| Filter::parse(&[text]).expect_err(text).to_string();
    assert!(error("colour:red").contains("there are key, type"));
    assert!(error("key:").contains("no value"));
    assert!(error("after:soon").contains("position"));
    assert!(error("\"open").contains("not closed"));
    assert!(error("status:fine").contains("completed, redelivered"));
    assert!(error("pence>much").contains("no number"));
    assert!(error("\"\"").contains("no value"));
}

#[test]
fn globs_match_anywhere() {
    for (pattern, text) in [("*", ""), ("a*", "a"), ("*c", "abc"), ("a*b*c", "aXbYc"), ("a**c", "abc")] {
        assert!(glob(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("a", "ab"), ("a*c", "ab"), ("a*b*b", "ab"), ("*a*", "b")] {
        assert!(!glob(pattern, text), "{pattern} {text}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z*.:>=!-]{1,8}", "[ -~]{1,12}", "\\PC{1,6}"]
}

fn bounds() -> impl Strategy<Value = Bound> {
    prop_oneof![
        any::<u64>().prop_map(|position| Bound::Position(Position(position))),
        (0..4_000_000_000_000_000_u64).prop_map(|micros| Bound::Time(WallTime(micros))),
        (0..10_000_000_000_000_u64).prop_map(Bound::Since),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let number = any::<f64>().prop_filter("finite", |number| number.is_finite());
    prop_oneof![number.prop_map(Value::Number), text().prop_map(Value::Text)]
}

fn payloads() -> impl Strategy<Value = What> {
    ("[a-z_][a-z0-9_.]{0,8}", 0..6_usize, values()).prop_map(|(path, sign, value)| {
        let comparison = match value {
            Value::Number(_) => Comparison::ALL[sign],
            Value::Text(_) => [Comparison::Equal, Comparison::Different][sign % 2],
        };
        What::Payload { path, comparison, value }
    })
}

fn terms() -> impl Strategy<Value = Term> {
    let what = prop_oneof![
        (0..6_usize, vec(text(), 1..4)).prop_map(|(field, values)| What::Field(Field::ALL[field], values)),
        vec(text(), 1..3).prop_map(What::Service),
        vec(0..6_usize, 1..4).prop_map(|all| What::Status(all.into_iter().map(|one| Status::ALL[one]).collect())),
        bounds().prop_map(What::After),
        bounds().prop_map(What::Before),
        payloads(),
        text().prop_map(What::Text),
    ];
    (any::<bool>(), what).prop_map(|(negated, what)| Term { negated, what })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(terms in vec(terms(), 0..5)) {
        let filter = Filter { terms };
        let written = filter.to_string();
        prop_assert_eq!(Filter::parse(std::slice::from_ref(&written)), Ok(filter), "{}", written);
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_takes_it_keeps(text in "\\PC{0,40}") {
        if let Ok(filter) = Filter::parse(&[text]) {
            let written = filter.to_string();
            prop_assert_eq!(Filter::parse(&[written]), Ok(filter));
        }
    }
}
