//! The simulator: plans, faults, engines, recorder. It knows no bank.
