//! What the keys do and how filters are written.

use maud::{Markup, html};

use super::frame;
use crate::filter;

/// Key and meaning.
const KEYS: &[(&str, &str)] = &[
    ("/", "filter"),
    ("?", "these keys"),
    ("j k", "next and previous row or node; Enter opens it"),
    ("1 2 3 4", "graph, lanes, timeline, table"),
    ("a d", "light what led to it, what came of it"),
    ("n N", "next and previous problem"),
    ("← →", "step through a run"),
    ("+ − 0 f", "zoom in, out, to its size, to the window"),
    ("y", "copy the link"),
    ("c", "copy the replay command"),
    ("t", "light or dark"),
    ("Esc", "let go"),
];

/// The table of keys.
pub fn keys() -> Markup {
    html! {
        table.keys { tbody {
            @for (key, meaning) in KEYS {
                tr { th scope="row" { @for one in key.split(' ') { kbd { (one) } " " } } td { (meaning) } }
            }
        } }
    }
}

/// The page.
pub fn page() -> Markup {
    frame::alone(
        "Help",
        &html! {
            h1 { "Help" }
            section { h2 { "Filters" } pre.help { (filter::HELP) } }
            section { h2 { "Keys" } (keys()) }
            section {
                h2 { "Find out" }
                ul {
                    li { "Why was a transfer rejected? Filter " code { "type:Rejected*" } ", open the event: its payload says why, and "
                        em { "what led to it" } " shows what the decision rested upon." }
                    li { "What came of one deposit? Open it, then " em { "Follow the money" } "." }
                    li { "Which instance handled a key at 12:31? Open the key: beside each event stands who handled it, and when." }
                    li { "Where do two runs differ? " code { "/compare?a=…&b=…" } " shows the first record that is not the same, and what a node knew of a key in both from there on." }
                    li { "What met a conflict? Filter " code { "status:conflict" } " in the log of a recorded run: a store by itself cannot know." }
                }
            }
        },
    )
}
