//! The walk over all states: breadth first, so that the first violation has a shortest path; depth first below the
//! frontier where that grows too large to be kept.

use std::{
    collections::{BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use dacapo_properties::Violation;

use super::{
    heal::heal,
    scope::Scope,
    step::{Step, Taken},
    story::Told,
    world::{Outcomes, World},
};

/// States that are kept whole at once. Beyond it the walk goes on depth first, which keeps one path only.
const FRONTIER_MAX: usize = 20_000;

/// Steps between two looks at whether to go on.
const LOOK_EVERY: u64 = 4_096;

/// How a search stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Different states.
    pub states: u64,
    /// Choices taken from them, each with all that may come of it.
    pub transitions: u64,
    /// The longest path to a state when it was first seen.
    pub deepest: usize,
    /// The path length up to which every state was seen on a shortest path.
    pub breadth: usize,
    /// Quiet states from which everything was let heal.
    pub healed: u64,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Every state within the scope was seen.
    Complete,
    /// So many states were seen, and there are more.
    Bounded(u64),
    /// Whoever started it asked it to end.
    Interrupted,
    /// A promise was broken.
    Found(Box<Finding>),
}

/// A broken promise, and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is broken.
    pub violation: Violation,
    /// The choices.
    pub path: Vec<Taken>,
    /// The path in words.
    pub told: Vec<Told>,
    /// Whether there is no shorter path.
    pub shortest: bool,
}

/// What a search saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How far it came.
    pub standing: Standing,
    /// How it ended.
    pub ended: Ended,
}

/// The way to a state: from which, by which of its outcomes.
#[derive(Clone, Copy)]
struct Origin {
    parent: u32,
    choice: u16,
    outcome: u16,
}

struct Search<'a> {
    scope: Arc<Scope>,
    seen: BTreeSet<u64>,
    /// Of the states that were seen breadth first, in order; the first is the beginning.
    origins: Vec<Origin>,
    standing: Standing,
    go_on: &'a mut dyn FnMut(&Standing) -> bool,
}

/// Why a walk ends early.
enum Stop {
    Bounded,
    Interrupted,
    Found { state: u32, below: Vec<Taken>, violation: Box<Violation> },
}

/// Looks at every state within the scope. `go_on` is asked now and then.
pub fn search(scope: Scope, go_on: &mut dyn FnMut(&Standing) -> bool) -> Report {
    let scope = Arc::new(scope);
    let origins = Vec::new();
    let mut search = Search { scope, seen: BTreeSet::new(), origins, standing: Standing::default(), go_on };
    let ended = match search.walk() {
        Ok(()) => Ended::Complete,
        Err(Stop::Bounded) => Ended::Bounded(search.standing.states),
        Err(Stop::Interrupted) => Ended::Interrupted,
        Err(Stop::Found { state, below, violation }) => {
            let shortest = below.len() <= 1;
            let mut path = search.path_to(state);
            path.extend(below);
            let told = search.tell(&path);
            Ended::Found(Box::new(Finding { violation: *violation, path, told, shortest }))
        }
    };
    Report { standing: search.standing, ended }
}

impl Search<'_> {
    fn begin(&self) -> Result<World, Box<Violation>> {
        World::begin(&self.scope)
    }

    fn walk(&mut self) -> Result<(), Stop> {
        let world = self.begin().map_err(|violation| Stop::Found { state: 0, below: Vec::new(), violation })?;
        self.origins.push(Origin { parent: 0, choice: 0, outcome: 0 });
        self.seen.insert(world.digest());
        self.standing.states = 1;
        let mut frontier = VecDeque::from([(0, world)]);
        let mut depth = 0;
        while !frontier.is_empty() && frontier.len() <= FRONTIER_MAX {
            depth += 1;
            for (state, world) in std::mem::take(&mut frontier) {
                self.expand(state, &world, depth, &mut frontier)?;
            }
            self.standing.breadth = depth;
        }
        // What is kept here grows no more: from each of these, one path at a time.
        while let Some((state, world)) = frontier.pop_front() {
            self.descend(state, world, depth)?;
        }
        Ok(())
    }

    /// Takes every choice of a state; new states join the frontier.
    fn expand(
        &mut self,
        state: u32,
        world: &World,
        depth: usize,
        frontier: &mut VecDeque<(u32, World)>,
    ) -> Result<(), Stop> {
        for (choice, step) in world.choices().iter().enumerate() {
            for (outcome, (taken, next)) in self.take(world, step)?.into_iter().enumerate() {
                let found = |violation| Stop::Found { state, below: vec![taken.clone()], violation };
                let next = next.map_err(found)?;
                if !self.is_new(&next, depth)? {
                    continue;
                }
                self.judge_healed(&next).map_err(found)?;
                let origin = Origin { parent: state, choice: choice as u16, outcome: outcome as u16 };
                self.origins.push(origin);
                frontier.push_back((self.origins.len() as u32 - 1, next));
            }
        }
        Ok(())
    }

    /// Walks everything below a state, depth first.
    fn descend(&mut self, state: u32, world: World, depth: usize) -> Result<(), Stop> {
        struct Level {
            world: World,
            steps: std::vec::IntoIter<Step>,
            outcomes: <Outcomes as IntoIterator>::IntoIter,
        }
        let level =
            |world: World| Level { steps: world.choices().into_iter(), outcomes: Vec::new().into_iter(), world };
        let mut levels = vec![level(world)];
        let mut below: Vec<Taken> = Vec::new();
        while let Some(top) = levels.last_mut() {
            let Some((taken, next)) = top.outcomes.next() else {
                if let Some(step) = top.steps.next() {
                    top.outcomes = self.take(&top.world, &step)?.into_iter();
                } else {
                    levels.pop();
                    below.pop();
                }
                continue;
            };
            below.push(taken);
            let found = |below: &Vec<Taken>, violation| Stop::Found { state, below: below.clone(), violation };
            let next = next.map_err(|violation| found(&below, violation))?;
            if self.is_new(&next, depth + below.len())? {
                self.judge_healed(&next).map_err(|violation| found(&below, violation))?;
                levels.push(level(next));
            } else {
                below.pop();
            }
        }
        Ok(())
    }

    /// All that may come of a step. A panic of the machine is a broken promise too.
    fn take(&mut self, world: &World, step: &Step) -> Result<Outcomes, Stop> {
        self.standing.transitions += 1;
        if self.standing.transitions.is_multiple_of(LOOK_EVERY) && !(self.go_on)(&self.standing) {
            return Err(Stop::Interrupted);
        }
        let taken = catch_unwind(AssertUnwindSafe(|| world.take(step)));
        Ok(taken.unwrap_or_else(|panic| {
            let taken = Taken { step: step.clone(), crash_after: None };
            vec![(taken, Err(Box::new(world.last_line(&words(&*panic)))))]
        }))
    }

    fn is_new(&mut self, world: &World, depth: usize) -> Result<bool, Stop> {
        if !self.seen.insert(world.digest()) {
            return Ok(false);
        }
        self.standing.states += 1;
        self.standing.deepest = self.standing.deepest.max(depth);
        if self.standing.states > self.scope.states_max {
            return Err(Stop::Bounded);
        }
        Ok(true)
    }

    /// From a quiet state everything must come to its end, whoever hangs.
    fn judge_healed(&mut self, world: &World) -> Result<(), Box<Violation>> {
        let Some(hung) = ways_to_heal(world) else { return Ok(()) };
        for hung in hung {
            self.standing.healed += 1;
            let mut world = world.clone();
            let healed = catch_unwind(AssertUnwindSafe(|| heal(&mut world, hung)));
            healed.unwrap_or_else(|panic| Err(Box::new(world.last_line(&words(&*panic)))))?;
        }
        Ok(())
    }

    /// The choices that led to a state.
    fn path_to(&self, state: u32) -> Vec<Taken> {
        let mut back = Vec::new();
        let mut at = state;
        while at != 0 {
            let origin = self.origins[at as usize];
            back.push(origin);
            at = origin.parent;
        }
        let mut path = Vec::new();
        let Ok(mut world) = self.begin() else { return path };
        for Origin { choice, outcome, .. } in back.into_iter().rev() {
            let steps = world.choices();
            let outcomes = world.take(&steps[usize::from(choice)]);
            let Some((taken, Ok(next))) = outcomes.into_iter().nth(usize::from(outcome)) else { return path };
            path.push(taken);
            world = next;
        }
        path
    }

    /// The path in words, with what the bus said.
    fn tell(&self, path: &[Taken]) -> Vec<Told> {
        let Ok(mut world) = self.begin() else { return Vec::new() };
        world.story.listen();
        for taken in path {
            let mut ended = world.story.clone();
            ended.begin(&taken.step);
            match catch_unwind(AssertUnwindSafe(|| world.retake(taken))) {
                Ok((next, Ok(()))) => world = next,
                Ok((next, Err(_))) => return next.story.into_told(),
                Err(_) => return ended.into_told(),
            }
        }
        if let Some(ways) = ways_to_heal(&world) {
            for hung in ways {
                let mut healing = world.clone();
                let healed = catch_unwind(AssertUnwindSafe(|| heal(&mut healing, hung)));
                if !matches!(healed, Ok(Ok(()))) {
                    return healing.story.into_told();
                }
            }
        }
        world.story.into_told()
    }
}

/// Who may hang while all others heal; none if the state is not one from which healing is looked at.
fn ways_to_heal(world: &World) -> Option<Vec<Option<usize>>> {
    if !world.is_quiet() {
        return None;
    }
    let holds = |index: &usize| world.peers[*index].held.iter().any(|held| !held.stale);
    let holding: Vec<usize> = (0..world.peers.len()).filter(holds).collect();
    match holding[..] {
        [] => Some(vec![None]),
        [one] if world.peers.len() > 1 => Some(vec![Some(one)]),
        _ => None,
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
