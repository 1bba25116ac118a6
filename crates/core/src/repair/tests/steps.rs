//! Surveys and plans in steps: each is bounded, and all of them together come
//! to the same as one.

use super::*;

#[test]
fn a_survey_of_any_size_goes_in_bounded_steps() {
    let mut world = World::new(4, 2, "none");
    world.put(10_000);
    world.set(2, Standing::Gone);
    let asked = std::cell::Cell::new(0_u64);
    let copy_state = |node, handle| {
        asked.set(asked.get() + 1);
        world.copy_state(node, handle)
    };
    let view = View { standings: &world.standings, copy_state: &copy_state };
    let (mut survey, mut after, mut steps) = (Survey::default(), None::<Handle>, 0);
    loop {
        asked.set(0);
        let rest = world.stripes.iter().filter(|(first, _)| Some(**first) > after);
        after = survey.look_on(rest.map(|(_, stripe)| (stripe, &world.policy)), &view);
        assert!(asked.get() < 5_000, "{} copies asked for in one step", asked.get());
        steps += 1;
        if after.is_none() {
            break;
        }
    }
    assert!(steps >= 19, "20,000 copies in {steps} steps");
    assert_eq!(survey.health(), world.health(), "and comes to the same");
}

/// Steps of a plan, and the most lookups in one of them.
fn plan_steps(world: &World, tasks_max: usize) -> (usize, usize, Vec<RepairTask>) {
    let copy_state = |node, handle| world.copy_state(node, handle);
    let view = View { standings: &world.standings, copy_state: &copy_state };
    let limits = Limits {
        candidates: &world.candidates(),
        tasks_max,
        tasks_per_target_max: world.per_target_max,
        running: &world.running,
        is_resting: &|handle| world.resting.contains(&handle),
        is_avoided: &|handle, node| world.avoided.contains(&(handle, node)),
    };
    let survey = world.survey();
    let looked = std::cell::Cell::new(0);
    let lookup = |first| {
        looked.set(looked.get() + 1);
        world.stripes.get(&first).map(|stripe| (stripe, &world.policy))
    };
    let mut plan = Plan::new(&view, &limits);
    let (mut steps, mut most) = (0, 0);
    loop {
        looked.set(0);
        let goes_on = plan.go_on(&survey, &view, &limits, lookup);
        (steps, most) = (steps + 1, most.max(looked.get()));
        if !goes_on {
            return (steps, most, plan.into_tasks());
        }
    }
}

#[test]
fn a_plan_that_finds_no_room_goes_in_bounded_steps() {
    let mut world = World::new(4, 2, "none");
    world.put(6_000);
    world.set(2, Standing::Gone);
    // Nobody may have any of them.
    for first in world.stripes.keys() {
        world.avoided.extend([1, 3, 4].map(|node| (*first, NodeIndex(node))));
    }
    let (steps, most, tasks) = plan_steps(&world, 1000);
    assert_eq!(tasks, []);
    assert!(steps > 4 && most <= 1024, "{steps} steps, up to {most} stripes in one");
}

#[test]
fn a_plan_in_steps_is_the_plan_in_one() {
    let mut world = World::new(12, 1, "rs:4+2");
    world.put(600);
    world.set(2, Standing::Gone);
    let (steps, _, tasks) = plan_steps(&world, 1000);
    assert!(steps > 1);
    assert_eq!(tasks, world.plan());
    assert_eq!(tasks.len() as u64, world.survey().waiting());
}
