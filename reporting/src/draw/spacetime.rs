//! The space-time diagram: a lane for each node, time downwards, messages as lines between lanes.
//!
//! It is drawn in windows of rows, so that a run of any length can be looked at; each window is a picture of its own, and
//! what stretches beyond it ends at its edge. Coordinates are those of the window.

use std::collections::BTreeMap;

use dacapo_core::{NodeName, narrate};
use maud::{Markup, html};

use super::text_width;
use crate::{
    run::{Fate, Message, Row, RowKind, Rows, Run, Way},
    words::{clipped, shortened, span},
};

const ROW: i32 = 20;
/// A fold is told in smaller letters.
const FOLD: i32 = 15;
const PAUSE: i32 = 24;
/// Below the last row, for the line of a violation.
const BOTTOM: i32 = 32;
/// Names stand in two lines by turns, so that a lane may be half as wide as its name.
const LANE_MIN: i32 = 44;
const SLOT: i32 = 13;
const TOP: i32 = 10;
const STEP: i32 = 58;
const AT: i32 = 72;
const TEXT_CHARS_MAX: usize = 104;
/// Bands of faults beside each other; those beyond share the last slot.
const SLOTS_MAX: usize = 14;

/// A run, ready to be drawn.
pub struct Diagram<'a> {
    run: &'a Run,
    rows: &'a Rows,
    lanes: Vec<NodeName>,
    column: BTreeMap<NodeName, i32>,
    /// The slot of each of `rows.faults`.
    slots: Vec<usize>,
    /// Indices into `rows.messages` by the step of either end.
    by_step: BTreeMap<u64, usize>,
    /// The middle of each row, if the whole run were one picture.
    middles: Vec<i32>,
    lane: i32,
    /// Longer words are clipped.
    words_max: usize,
}

/// From, to, what it is, and how many it stands for.
type Bar = (i32, i32, String, usize);

/// Where the rows of a window stand.
struct Window<'a> {
    rows: &'a [Row],
    /// The middle of every row of the run, and of the window's first.
    all: &'a [i32],
    first: usize,
    height: i32,
}

impl Window<'_> {
    fn tops(&self) -> impl Iterator<Item = i32> {
        let offset = self.offset();
        self.all[self.first..self.first + self.rows.len()].iter().map(move |y| y - offset)
    }

    fn offset(&self) -> i32 {
        top_of(self.rows.first(), self.all.get(self.first).copied().unwrap_or_default())
    }

    fn first(&self) -> u64 {
        self.rows.first().map_or(0, |row| row.step)
    }

    fn last(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.through)
    }

    /// Whether a step is within the window.
    fn holds(&self, step: u64) -> bool {
        self.first() <= step && step <= self.last()
    }
}

/// The upper edge of a row whose middle is known.
fn top_of(row: Option<&Row>, middle: i32) -> i32 {
    let pause = row.and_then(|row| row.pause_us).map_or(0, |_| PAUSE);
    middle - height_of(row) / 2 - pause - TOP
}

fn height_of(row: Option<&Row>) -> i32 {
    row.map_or(ROW, |row| if row.kind == RowKind::Fold { FOLD } else { ROW })
}

impl<'a> Diagram<'a> {
    /// Prepares a run.
    pub fn of(run: &'a Run, rows: &'a Rows) -> Self {
        let lanes = crate::run::lanes(&run.records);
        let slots = slots(&rows.faults);
        let used = slots.iter().max().map_or(0, |slot| slot + 1) as i32;
        let left = 10 + used * SLOT + 8;
        let lane = lanes.iter().map(|node| text_width(&short(node)) as i32 / 2 + 10).max().unwrap_or(0).max(LANE_MIN);
        let mut y = TOP;
        let middles = rows
            .rows
            .iter()
            .map(|row| {
                let height = height_of(Some(row));
                y += height + row.pause_us.map_or(0, |_| PAUSE);
                y - height / 2
            })
            .collect();
        let column = (0..)
            .zip(&lanes)
            .map(|(index, node): (i32, &NodeName)| (node.clone(), left + lane / 2 + index * lane))
            .collect();
        let by_step = rows
            .messages
            .iter()
            .enumerate()
            .flat_map(|(index, message)| {
                let received = match message.fate {
                    Fate::Received { step } => Some((step, index)),
                    Fate::Lost | Fate::OnItsWay => None,
                };
                [Some((message.sent, index)), received].into_iter().flatten()
            })
            .collect();
        Self { run, rows, lanes, column, slots, by_step, middles, lane, words_max: TEXT_CHARS_MAX }
    }

    /// The same with all words, however long a row becomes.
    #[must_use]
    pub fn in_full(self) -> Self {
        Self { words_max: narrate::TEXT_CHARS_MAX + 1, ..self }
    }

    fn text_x(&self) -> i32 {
        self.column.values().max().copied().unwrap_or(20) + self.lane / 2 + 12
    }

    fn width(&self) -> i32 {
        self.text_x() + STEP + AT + 10 + (self.words_max as i32 * 71) / 10
    }

    /// The names over the lanes.
    pub fn head(&self) -> Markup {
        let width = self.width();
        html! {
            svg.spacehead xmlns="http://www.w3.org/2000/svg" width=(width) height=(Self::HEAD) viewBox={ "0 0 " (width) " " (Self::HEAD) } {
                @for (index, node) in self.lanes.iter().enumerate() { text.lanename x=(self.column[node]) y=(if index % 2 == 0 { 15 } else { 33 }) { (short(node)) } }
                text.lanename.faint x=(self.text_x() + STEP - 8) y="33" { "step" }
                text.lanename.faint x=(self.text_x() + STEP + AT - 10) y="33" { "time" }
            }
        }
    }

    fn rows_of(&self, from: usize, to: usize) -> Window<'_> {
        let rows = &self.rows.rows[from..to];
        let mut window = Window { rows, all: &self.middles, first: from, height: 0 };
        let end = window.tops().last().unwrap_or_default() + height_of(rows.last()) / 2;
        window.height = end + if window.holds(self.run.point()) { BOTTOM } else { 0 };
        window
    }

    /// The height of what stands above the windows.
    pub const HEAD: i32 = 40;

    /// How wide and how high a window is.
    pub fn size(&self, from: usize, to: usize) -> (i32, i32) {
        (self.width(), self.height(from, to))
    }

    /// How high a window is.
    pub fn height(&self, from: usize, to: usize) -> i32 {
        self.rows_of(from, to).height
    }

    /// Where a step stands, or just beyond the edge that is nearer: for what stretches over rows.
    fn edge(&self, window: &Window<'_>, step: u64) -> i32 {
        self.y(window, step).clamp(-8, window.height + 8)
    }

    /// Where a step stands, also one that is beyond the window.
    fn y(&self, window: &Window<'_>, step: u64) -> i32 {
        let index = self.rows.rows.partition_point(|row| row.through < step).min(self.middles.len().saturating_sub(1));
        self.middles.get(index).copied().unwrap_or_default() - window.offset()
    }

    /// The rows with these indices. `anchor` is the step that the reader stands at.
    pub fn window(&self, from: usize, to: usize, anchor: Option<u64>) -> Markup {
        let window = self.rows_of(from, to);
        let width = self.width();
        html! {
            svg.spacetime xmlns="http://www.w3.org/2000/svg" width=(width) height=(window.height)
                viewBox={ "0 0 " (width) " " (window.height) } role="img"
                aria-label={ "Steps " (window.first()) " to " (window.last()) } {
                (self.faults(&window))
                (self.lives(&window))
                (self.owners(&window))
                (self.open(&window))
                (self.messages(&window))
                @for (row, y) in window.rows.iter().zip(window.tops()) { (self.row(row, y, anchor)) }
                (self.blamed(&window))
                (self.violation(&window))
            }
        }
    }

    fn faults(&self, window: &Window<'_>) -> Markup {
        let texts: BTreeMap<u32, &crate::run::Fault> =
            self.run.manifest.faults.iter().map(|fault| (fault.id, fault)).collect();
        html! {
            @for ((fault, from, to), slot) in self.rows.faults.iter().zip(&self.slots) {
                @if *from <= window.last() && window.first() <= *to {
                    @let (y1, y2) = (self.edge(window, *from), self.edge(window, *to));
                    @let x = 10 + *slot as i32 * SLOT;
                    @let known = texts.get(fault);
                    g .fault .needed[known.is_some_and(|fault| fault.needed == Some(true))] {
                        @if let Some(known) = known { title { "#" (fault) " " (known.text) } }
                        rect x=(x) y=(y1) width=(SLOT - 3) height=((y2 - y1).max(6)) rx="3" {}
                        @for host in known.map(|fault| fault.hosts.as_slice()).unwrap_or_default() {
                            @if let Some(column) = self.column_of(host) {
                                rect.struck x=(column - 16) y=(y1) width="32" height=((y2 - y1).max(6)) {}
                            }
                        }
                        @if window.holds(*from) {
                            text transform={ "translate(" (x + 8) " " (y1 + 4) ") rotate(90)" } { "#" (fault) }
                            @for (index, way) in (0..).zip(known.map(|fault| fault.cut.as_slice()).unwrap_or_default()) {
                                (self.cut(way, y1 + 6 + index * 9))
                            }
                            @if let Some((known, clock)) = known.and_then(|fault| Some((fault, fault.clock.as_ref()?))) {
                                @for x in known.hosts.iter().filter_map(|host| self.column_of(host)) { (wrong_clock(x, y1 + 10, clock)) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn column_of(&self, host: &str) -> Option<i32> {
        NodeName::new(host.to_owned()).ok().and_then(|node| self.column.get(&node)).copied()
    }

    /// A way on which nothing passes: an arrow that a bar stops, between the two that stand closest.
    fn cut(&self, way: &Way, y: i32) -> Markup {
        let columns = |hosts: &[String]| -> Vec<i32> { hosts.iter().filter_map(|host| self.column_of(host)).collect() };
        let (from, to) = (columns(&way.from), columns(&way.to));
        let pairs = from.iter().flat_map(|x1| to.iter().map(move |x2| (*x1, *x2)));
        let closest = pairs.filter(|(x1, x2)| x1 != x2).min_by_key(|(x1, x2)| (x1 - x2).abs());
        html! {
            @if let Some((x1, x2)) = closest {
                @let (side, middle) = ((x2 - x1).signum(), i32::midpoint(x1, x2));
                path.cut d=(format!("M{x1} {y}H{}m{} -4l{} 4l{} 4M{} {}v10", x2 - side * 4, -side * 6, side * 6, -side * 6, middle, y - 5)) {
                    title { (way.from.join(", ")) " to " (way.to.join(", ")) ": nothing passes" }
                }
            }
        }
    }

    /// Who owned the keys in question: beside the lane, on its right.
    fn owners(&self, window: &Window<'_>) -> Markup {
        html! {
            @for owner in &self.rows.owners {
                @if owner.from <= window.last() && window.first() <= owner.to {
                    @let (y1, y2) = (self.edge(window, owner.from), self.edge(window, owner.to));
                    @if let Some(x) = self.column.get(&owner.node).filter(|_| y1 < y2) {
                        rect.owner x=(x + 12) y=(y1) width="3" height=(y2 - y1) rx="1" {
                            title { (owner.node) " owns " (owner.key) ", epoch " (owner.epoch) }
                        }
                    }
                }
            }
        }
    }

    fn lives(&self, window: &Window<'_>) -> Markup {
        html! {
            @for node in &self.lanes {
                @let x = self.column[node];
                line.dead x1=(x) y1="0" x2=(x) y2=(window.height) {}
            }
            @for life in &self.rows.lives {
                @if life.from <= window.last() && window.first() <= life.to {
                    @let x = self.column.get(&life.node).copied().unwrap_or_default();
                    line.alive x1=(x) y1=(self.edge(window, life.from)) x2=(x) y2=(self.edge(window, life.to)) {}
                }
            }
        }
    }

    /// What is open at the same time at the same node is one bar.
    fn open(&self, window: &Window<'_>) -> Markup {
        let mut bars: BTreeMap<(&NodeName, &str), Vec<Bar>> = BTreeMap::new();
        for open in &self.rows.open {
            let (y1, y2) = (self.edge(window, open.from), self.edge(window, open.to));
            if y2 <= y1 || open.to < window.first() || window.last() < open.from {
                continue;
            }
            let bars = bars.entry((&open.node, open.class)).or_default();
            match bars.last_mut().filter(|(_, end, ..)| y1 <= *end) {
                Some((_, end, _, number)) => {
                    *end = (*end).max(y2);
                    *number += 1;
                }
                None => bars.push((y1, y2, open.text.clone(), 1)),
            }
        }
        html! {
            @for ((node, class), bars) in &bars {
                @let x = self.column.get(*node).copied().unwrap_or_default();
                @let (dx, w) = match *class { "delivery" => (-6, 5), "rebuild" => (-11, 4), "commit" => (3, 7), _ => (2, 4) };
                @for (y1, y2, text, number) in bars {
                    rect class={ "open " (class) } x=(x + dx) y=(y1) width=(w) height=(y2 - y1) rx="2" {
                        title { (text) @if *number > 1 { ", and " (number - 1) " more" } }
                    }
                }
            }
        }
    }

    fn messages(&self, window: &Window<'_>) -> Markup {
        let mut seen: Vec<usize> = Vec::new();
        for row in window.rows.iter().filter(|row| row.kind != RowKind::Fold) {
            seen.extend(self.by_step.get(&row.step));
        }
        seen.sort_unstable();
        seen.dedup();
        html! {
            g.messages { @for index in seen { (self.message(window, &self.rows.messages[index])) } }
        }
    }

    fn message(&self, window: &Window<'_>, message: &Message) -> Markup {
        let x1 = self.column.get(&message.from).copied().unwrap_or_default();
        let towards = message.to.as_ref().and_then(|to| self.column.get(to)).copied();
        let y1 = self.y(window, message.sent);
        let again = self.rows.again.get(&message.sent);
        let (x2, y2) = match (message.fate, towards) {
            (Fate::Received { step }, Some(x2)) => (x2, self.y(window, step)),
            // Halfway to where it was to go, or a short way towards the middle.
            (_, Some(x2)) => (i32::midpoint(x1, x2), y1 + ROW / 2),
            (_, None) => (x1 + if x1 > self.lane * 3 { -self.lane / 2 } else { self.lane / 2 }, y1 + ROW / 2),
        };
        let d = format!("M{x1} {y1}L{x2} {y2}");
        html! {
            @if let Some(first) = again { path.again d=(d) { title { "delivered again; first at step " (first) } } }
            path .message .lost[message.fate == Fate::Lost] .again-core[again.is_some()] d=(d) {}
            @match message.fate {
                Fate::Lost => path.cross d=(format!("M{} {}l10 10m0 -10l-10 10", x2 - 5, y2 - 5)) data-problem-mark="" {},
                Fate::OnItsWay => circle.way cx=(x2) cy=(y2) r="2.5" {},
                Fate::Received { .. } => {
                    @let side = if x2 > x1 { -1 } else { 1 };
                    path.head d=(format!("M{x2} {y2}l{} -4v8z", side * 7)) {}
                }
            }
        }
    }

    /// A row's own coordinates begin at its middle, so that rows differ in as little as possible.
    fn row(&self, row: &Row, y: i32, anchor: Option<u64>) -> Markup {
        let x = self.column.get(&row.node).copied();
        let text_x = self.text_x();
        let clipped_text = clipped(&row.text, self.words_max);
        let is_clipped = clipped_text != row.text;
        let height = height_of(Some(row));
        let here = anchor.is_some_and(|anchor| row.step <= anchor && anchor <= row.through);
        html! {
            g .row .story[row.story] .here[here] .(class_of(row.kind)) data-step=(row.step) transform={ "translate(0 " (y) ")" } {
                @if let Some(pause) = row.pause_us {
                    text.pause x=(text_x + STEP + AT) y=(-height / 2 - 7) { "· · · " (span(pause)) " · · ·" }
                }
                rect.back x="0" y=(-height / 2) width=(self.width()) height=(height) {}
                @if let Some(x) = x.filter(|_| row.kind != RowKind::Fold) {
                    g transform={ "translate(" (x) ")" } { (mark(row)) }
                }
                text.step x=(text_x + STEP - 8) y="4" { (row.step) }
                @if row.kind != RowKind::Fold { text.at x=(text_x + STEP + AT - 10) y="4" { (row.at) } }
                text.words x=(text_x + STEP + AT) y="4" {
                    @if is_clipped { title { (row.text) } }
                    (clipped_text)
                }
            }
        }
    }

    /// From here on the run was lost.
    fn blamed(&self, window: &Window<'_>) -> Markup {
        let Some(blamed) = self.run.manifest.blamed.as_ref().filter(|blamed| window.holds(blamed.step)) else {
            return html! {};
        };
        let y = self.y(window, blamed.step) + ROW / 2;
        html! {
            g.blamed data-problem-mark="" {
                title { (blamed.text) }
                line x1="0" y1=(y) x2=(self.width()) y2=(y) {}
                text x=(self.text_x() - 8) y=(y - 3) { "lost from here on" }
            }
        }
    }

    fn violation(&self, window: &Window<'_>) -> Markup {
        let Some(violation) = &self.run.manifest.violation else { return html! {} };
        if !window.holds(self.run.point()) {
            return html! {};
        }
        let y = self.y(window, self.run.point());
        let label = format!("{}: {}", violation.property, violation.sentence);
        let y = y + ROW / 2 + 8;
        // In bold letters.
        let width = text_width(&label) as i32 * 11 / 10 + 30;
        html! {
            g.violation data-problem-mark="" {
                line x1="0" y1=(y) x2=(self.width()) y2=(y) {}
                rect x="12" y=(y - 12) width=(width) height="24" rx="12" {}
                text x="26" y=(y + 5) { (label) }
            }
        }
    }
}

fn class_of(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Sent => "sent",
        RowKind::Received => "received",
        RowKind::Life => "life",
        RowKind::Commit => "commit",
        RowKind::Operation => "operation",
        RowKind::Handler => "handler",
        RowKind::State => "state",
        RowKind::Rebuild => "rebuild",
        RowKind::Fault => "faulty",
        RowKind::Other => "other",
        RowKind::Fold => "folded",
    }
}

/// What stands on the lane of a row's node.
fn mark(row: &Row) -> Markup {
    html! {
        @match row.kind {
            RowKind::Commit => path.mark d="M-11 0h22" {},
            RowKind::Life if row.text.starts_with("stops") => path.mark d="M-5 -5l10 10m0 -10l-10 10" {},
            RowKind::Life => path.mark d="M-5 -6l11 6l-11 6z" {},
            RowKind::Operation => rect.mark x="-5" y="-5" width="10" height="10" rx="2" {},
            RowKind::State => path.mark d="M0 -5l5 5l-5 5l-5 -5z" {},
            RowKind::Rebuild => circle.mark r="5" {},
            _ => circle.mark r="3" {},
        }
    }
}

/// A clock whose hands are wrong, and by how much.
fn wrong_clock(x: i32, y: i32, clock: &str) -> Markup {
    html! {
        g.wrong-clock transform={ "translate(" (x) " " (y) ")" } {
            circle r="6" {}
            path d="M0 0V-4M0 0L3 2" {}
            text x="10" y="4" { (clock) }
        }
    }
}

/// A node's name over its lane.
fn short(node: &NodeName) -> String {
    shortened(node.as_str(), 16)
}

/// Side by side where they overlap.
fn slots(faults: &[(u32, u64, u64)]) -> Vec<usize> {
    let mut free: Vec<u64> = Vec::new();
    let place = |(_, from, to): &(u32, u64, u64)| {
        let slot = free.iter().position(|until| until < from).unwrap_or(free.len()).min(SLOTS_MAX - 1);
        match free.get_mut(slot) {
            Some(until) => *until = (*until).max(*to),
            None => free.push(*to),
        }
        slot
    };
    faults.iter().map(place).collect()
}
