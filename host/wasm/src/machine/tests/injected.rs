//! Thousands of failures at random points, with both methods of rollback: failed commands leave no trace.
//! `bench --only failures` does the same a hundred thousand times.

use super::*;
use crate::images::RollbackMethod;
use crate::testing::injected::{Faulty, Scripted, inject};
use crate::testing::scripted_in_memory;

#[test]
fn thousands_of_failures_leave_no_trace() {
    for seed in 0..2 {
        let module = scripted_in_memory();
        assert_eq!(*module.rollback_method(), RollbackMethod::Images);
        let done = inject(&module, &Scripted, seed, 700, 2_000).unwrap();
        assert!(done.rollbacks >= 700, "{done:?}");
        inject(&faulty(), &Faulty, seed, 150, 2_000).unwrap();
    }
}

#[test]
fn failures_leave_no_trace_without_an_image_either() {
    assert_ne!(*scripted().rollback_method(), RollbackMethod::Images);
    inject(&scripted(), &Scripted, 7, 200, 2_000).unwrap();
}
