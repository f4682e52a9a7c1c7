//! The space-time diagram: a lane for each node, time downwards, messages as lines between lanes.
//!
//! It is drawn in windows of rows, so that a run of any length can be looked at; each window is a picture of its own, and
//! what stretches beyond it ends at its edge. Coordinates are those of the window.

use std::collections::BTreeMap;

use dacapo_core::NodeName;
use maud::{Markup, html};

use super::text_width;
use crate::{
    run::{Fate, Message, Row, RowKind, Rows, Run},
    words::{clipped, span},
};

const ROW: i32 = 20;
const PAUSE: i32 = 24;
const LANE: i32 = 92;
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
}

/// Where the rows of a window stand.
struct Window<'a> {
    rows: &'a [Row],
    tops: Vec<i32>,
    height: i32,
}

impl Window<'_> {
    fn of(rows: &[Row]) -> Window<'_> {
        let mut tops = Vec::with_capacity(rows.len());
        let mut y = TOP;
        for row in rows {
            if row.pause_us.is_some() {
                y += PAUSE;
            }
            tops.push(y + ROW / 2);
            y += ROW;
        }
        Window { rows, tops, height: y + 6 }
    }

    fn first(&self) -> u64 {
        self.rows.first().map_or(0, |row| row.step)
    }

    fn last(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.through)
    }

    /// Where a step stands; none beyond the window.
    fn y(&self, step: u64) -> Option<i32> {
        let index = self.rows.partition_point(|row| row.through < step);
        self.rows.get(index).filter(|row| row.step <= step).map(|_| self.tops[index])
    }

    /// Where a step stands, or the edge that is nearer.
    fn edge(&self, step: u64) -> i32 {
        self.y(step).unwrap_or(if step < self.first() { 0 } else { self.height })
    }
}

impl<'a> Diagram<'a> {
    /// Prepares a run.
    pub fn of(run: &'a Run, rows: &'a Rows) -> Self {
        let lanes = crate::run::lanes(&run.records);
        let slots = slots(&rows.faults);
        let used = slots.iter().max().map_or(0, |slot| slot + 1) as i32;
        let left = 10 + used * SLOT + 8;
        let column = (0..)
            .zip(&lanes)
            .map(|(index, node): (i32, &NodeName)| (node.clone(), left + LANE / 2 + index * LANE))
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
        Self { run, rows, lanes, column, slots, by_step }
    }

    fn text_x(&self) -> i32 {
        self.column.values().max().copied().unwrap_or(20) + LANE / 2 + 12
    }

    fn width(&self) -> i32 {
        self.text_x() + STEP + AT + 10 + (TEXT_CHARS_MAX as i32 * 71) / 10
    }

    /// The names over the lanes.
    pub fn head(&self) -> Markup {
        let width = self.width();
        html! {
            svg.spacehead xmlns="http://www.w3.org/2000/svg" width=(width) height="30" viewBox={ "0 0 " (width) " 30" } {
                @for node in &self.lanes { text.lanename x=(self.column[node]) y="20" { (clipped(node.as_str(), 14)) } }
                text.lanename.faint x=(self.text_x() + STEP - 8) y="20" { "step" }
                text.lanename.faint x=(self.text_x() + STEP + AT - 10) y="20" { "time" }
            }
        }
    }

    /// The rows with these indices. `anchor` is the step that the reader stands at.
    pub fn window(&self, from: usize, to: usize, anchor: Option<u64>) -> Markup {
        let window = Window::of(&self.rows.rows[from..to]);
        let width = self.width();
        html! {
            svg.spacetime xmlns="http://www.w3.org/2000/svg" width=(width) height=(window.height)
                viewBox={ "0 0 " (width) " " (window.height) } role="img"
                aria-label={ "Steps " (window.first()) " to " (window.last()) } {
                (self.faults(&window))
                (self.lives(&window))
                (self.open(&window))
                (self.messages(&window))
                @for (row, y) in window.rows.iter().zip(&window.tops) { (self.row(row, *y, anchor)) }
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
                    @let (y1, y2) = (window.edge(*from), window.edge(*to));
                    @let x = 10 + *slot as i32 * SLOT;
                    @let known = texts.get(fault);
                    g .fault .needed[known.is_some_and(|fault| fault.needed == Some(true))] {
                        @if let Some(known) = known { title { "#" (fault) " " (known.text) } }
                        rect x=(x) y=(y1) width=(SLOT - 3) height=((y2 - y1).max(6)) rx="3" {}
                        @for host in known.map(|fault| fault.hosts.as_slice()).unwrap_or_default() {
                            @if let Some(column) = NodeName::new(host.clone()).ok().and_then(|node| self.column.get(&node)) {
                                rect.struck x=(column - 16) y=(y1) width="32" height=((y2 - y1).max(6)) {}
                            }
                        }
                        @if window.y(*from).is_some() {
                            text transform={ "translate(" (x + 8) " " (y1 + 4) ") rotate(90)" } { "#" (fault) }
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
                    line.alive x1=(x) y1=(window.edge(life.from)) x2=(x) y2=(window.edge(life.to)) {}
                }
            }
        }
    }

    fn open(&self, window: &Window<'_>) -> Markup {
        html! {
            @for open in &self.rows.open {
                @if open.from <= window.last() && window.first() <= open.to {
                    @let x = self.column.get(&open.node).copied().unwrap_or_default();
                    @let (y1, y2) = (window.edge(open.from), window.edge(open.to));
                    @let (dx, w) = match open.class { "delivery" => (-6, 5), "rebuild" => (-11, 4), "commit" => (3, 7), _ => (2, 4) };
                    @if y2 > y1 {
                        rect class={ "open " (open.class) } x=(x + dx) y=(y1) width=(w) height=(y2 - y1) rx="2" { title { (open.text) } }
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
        let y1 = window.edge(message.sent);
        let again = self.rows.again.get(&message.sent);
        let (x2, y2) = match (message.fate, towards) {
            (Fate::Received { step }, Some(x2)) => (x2, window.edge(step)),
            // Halfway to where it was to go, or a short way towards the middle.
            (_, Some(x2)) => (i32::midpoint(x1, x2), y1 + ROW / 2),
            (_, None) => (x1 + if x1 > LANE * 3 { -LANE / 2 } else { LANE / 2 }, y1 + ROW / 2),
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

    fn row(&self, row: &Row, y: i32, anchor: Option<u64>) -> Markup {
        let x = self.column.get(&row.node).copied();
        let text_x = self.text_x();
        let clipped_text = clipped(&row.text, TEXT_CHARS_MAX);
        let is_clipped = clipped_text != row.text;
        let class = match row.kind {
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
        };
        html! {
            @if let Some(pause) = row.pause_us {
                text.pause x=(text_x + STEP + AT) y=(y - ROW / 2 - 7) { "· · · " (span(pause)) " · · ·" }
            }
            g .row .story[row.story] .here[anchor == Some(row.step)] .(class) data-step=(row.step) {
                rect.back x="0" y=(y - ROW / 2) width=(self.width()) height=(ROW) {}
                @if let Some(x) = x {
                    @match row.kind {
                        RowKind::Commit => path.mark d=(format!("M{} {y}h22", x - 11)) {},
                        RowKind::Life => path.mark d=(if row.text.starts_with("stops") { format!("M{} {}l10 10m0 -10l-10 10", x - 5, y - 5) } else { format!("M{} {}l11 6l-11 6z", x - 5, y - 6) }) {},
                        RowKind::Operation => rect.mark x=(x - 5) y=(y - 5) width="10" height="10" rx="2" {},
                        RowKind::State => path.mark d=(format!("M{x} {}l5 5l-5 5l-5 -5z", y - 5)) {},
                        RowKind::Rebuild => circle.mark cx=(x) cy=(y) r="5" {},
                        RowKind::Fold => {},
                        _ => circle.mark cx=(x) cy=(y) r="3" {},
                    }
                }
                text.step x=(text_x + STEP - 8) y=(y + 4) { (row.step) }
                @if row.kind != RowKind::Fold { text.at x=(text_x + STEP + AT - 10) y=(y + 4) { (row.at) } }
                text.words x=(text_x + STEP + AT) y=(y + 4) {
                    @if is_clipped { title { (row.text) } }
                    (clipped_text)
                }
            }
        }
    }

    fn violation(&self, window: &Window<'_>) -> Markup {
        let Some(violation) = &self.run.manifest.violation else { return html! {} };
        let Some(y) = window.y(self.run.point()) else { return html! {} };
        let label = format!("{}: {}", violation.property, violation.sentence);
        let y = y + ROW / 2;
        let width = text_width(&label) as i32 + 28;
        html! {
            g.violation data-problem-mark="" {
                line x1="0" y1=(y) x2=(self.width()) y2=(y) {}
                rect x="12" y=(y - 12) width=(width) height="24" rx="12" {}
                text x="26" y=(y + 5) { (label) }
            }
        }
    }
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
