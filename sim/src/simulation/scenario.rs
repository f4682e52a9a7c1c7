//! A simulation as a [`Scenario`], which is what an engine takes.

use std::sync::Arc;

use dacapo_properties::{Operation, Property, Scenario, ServiceSpec, scenario::Draw};

use super::{promise::Make, seen::INSPECTIONS_FROM, shape::Shape};

/// What customers do.
pub(super) type Workload = Arc<dyn Fn(&mut dyn Draw, Shape) -> Vec<Operation> + Send + Sync>;
/// What is asked at the end.
pub(super) type Inspections = Arc<dyn Fn(&[Operation]) -> Vec<Operation> + Send + Sync>;

/// The parts of a simulation that a run is made of.
#[derive(Clone)]
pub(super) struct Composed {
    pub(super) name: &'static str,
    pub(super) services: Vec<ServiceSpec>,
    pub(super) workload: Option<Workload>,
    pub(super) inspections: Option<Inspections>,
    pub(super) makes: Vec<Make>,
}

/// Gives a number to each that has none: its place in the list.
fn numbered(mut operations: Vec<Operation>, first_id: u64) -> Vec<Operation> {
    for (id, operation) in (first_id..).zip(&mut operations) {
        if operation.id == 0 {
            operation.id = id;
        }
    }
    operations
}

impl Scenario for Composed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> &'static str {
        "the services of a test"
    }

    fn services(&self) -> Vec<ServiceSpec> {
        self.services.clone()
    }

    fn workload(&self, draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation> {
        let lasting = std::time::Duration::from_micros(duration_us);
        let shape = Shape { customers, operations, lasting };
        numbered(self.workload.as_ref().map_or_else(Vec::new, |draw_all| draw_all(draw, shape)), 1)
    }

    fn inspections(&self, operations: &[Operation], first_id: u64) -> Vec<Operation> {
        assert!(first_id <= INSPECTIONS_FROM, "a workload has fewer operations");
        let mut asked = self.inspections.as_ref().map_or_else(Vec::new, |inspect| inspect(operations));
        for operation in &mut asked {
            operation.id = 0;
        }
        numbered(asked, INSPECTIONS_FROM)
    }

    fn properties(&self) -> Vec<Box<dyn Property>> {
        self.makes.iter().map(|make| make()).collect()
    }
}
