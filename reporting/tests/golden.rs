//! Pictures and pages as text: what changes in them is seen in a review. `UPDATE_EXPECT=1` writes them anew.

mod support;

use std::{collections::BTreeSet, sync::Arc};

use dacapo_core::{CorrelationId, Event};
use dacapo_reporting::{
    cast::Cast,
    draw,
    export::{dot, html, lines, svg},
    graph::{Folding, Graph},
    log::Log,
    tree,
};
use expect_test::expect_file;
use support::{Scratch, page, site, small_bank};

/// The transfer of the small bank, as a graph.
fn transfer(scratch: &Scratch) -> (Log, Vec<Arc<Event>>) {
    let path = scratch.path("bank.db");
    drop(small_bank(&path));
    let mut log = Log::open(&path).expect("opens");
    let events = log.correlation(&CorrelationId::of("c-2")).expect("is read").events;
    (log, events)
}

/// A line for each element, so that a difference is a line.
fn by_line(markup: &str) -> String {
    markup.replace("><", ">\n<") + "\n"
}

#[test]
fn the_causation_graph_looks_like_this() {
    let scratch = Scratch::new("golden-graph");
    let (mut log, events) = transfer(&scratch);
    let graph = Graph::of(&events, &BTreeSet::new());
    let standing = log.standing().expect("stands");
    let fares = log.fares(&events, &standing).expect("is read");
    let folded = graph.fold(&Folding::default());
    let picture = draw::graph::Picture {
        graph: &graph,
        folded: &folded,
        cast: &Cast::of(["accounts", "transactions"]),
        fares: &fares,
        event: &|node| Some(format!("/event/{}", node.event.id)),
        open: &|_| None,
        selected: None,
    };
    expect_file!["golden/graph.svg"].assert_eq(&by_line(&draw::graph::draw(&picture).into_string()));
    expect_file!["golden/tree.txt"].assert_eq(&(tree::lines(&graph).join("\n") + "\n"));
    expect_file!["golden/graph.dot"].assert_eq(&dot::graph(&graph));
}

#[test]
fn lanes_and_timeline_look_like_this() {
    let scratch = Scratch::new("golden-lanes");
    let (_, events) = transfer(&scratch);
    let graph = Graph::of(&events, &BTreeSet::new());
    let cast = Cast::of(["accounts", "transactions"]);
    expect_file!["golden/lanes.svg"].assert_eq(&by_line(&draw::lanes::draw(&graph, &cast, &|_| None).into_string()));
    expect_file!["golden/timeline.svg"]
        .assert_eq(&by_line(&draw::timeline::draw(&graph, &cast, &|_| None).into_string()));
}

#[test]
fn an_event_s_page_looks_like_this() {
    let scratch = Scratch::new("golden-event");
    let path = scratch.path("bank.db");
    drop(small_bank(&path));
    let body = page(&mut site(&path), "/event/e-7");
    // The head names the file, which lies elsewhere each time.
    let body = body.replace(&path.display().to_string(), "bank.db");
    expect_file!["golden/event.html"].assert_eq(&by_line(&body));
}

#[test]
fn exports_are_the_same_bytes_twice_and_ask_nobody() {
    let scratch = Scratch::new("golden-exports");
    let (mut log, events) = transfer(&scratch);
    let make = |log: &mut Log| {
        let graph = Graph::of(&events, &BTreeSet::new());
        let standing = log.standing().expect("stands");
        let fares = log.fares(&events, &standing).expect("is read");
        let cast = svg::cast_of(&events);
        [svg::graph(&graph, &cast, &fares), html::events(&graph, &cast, &fares, "corr:c-2"), lines::events(&events)]
    };
    let [picture, page, rows] = make(&mut log);
    assert_eq!([picture.clone(), page.clone(), rows.clone()], make(&mut log));
    assert_eq!(rows.lines().count(), 4);
    for made in [&picture, &page] {
        let strange: Vec<&str> = made
            .split("http")
            .skip(1)
            .filter(|rest| !rest.starts_with("://www.w3.org/2000/svg") && !rest.starts_with("-equiv"))
            .collect();
        assert_eq!(strange, Vec::<&str>::new(), "it names no other place");
        assert!(!made.contains("src=") && !made.contains("url(http"), "it loads nothing");
    }
}
