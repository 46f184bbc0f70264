//! Two files by different policies, fetched by the same machines at the same time: each is fetched as its policy says.

use zest_core::node::Policy;
use zest_sim::{Report, Scenario, Start, run};

/// Eight machines whose uplinks are slow beside an origin that gives all of them what they take.
fn crowd(seed: u64, usual: Policy, files: [Option<Policy>; 2]) -> Report {
    let mut scenario = Scenario::crowd(seed, 8);
    (scenario.policy, scenario.start, scenario.files) = (usual, Start::Warm, 2);
    scenario.file_policies = files.to_vec();
    scenario.net.up_bytes_s = 1_500_000;
    scenario.origin.total_bytes_s = None;
    let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
    assert_eq!(report.finish_ns.len(), 8, "all of them finish");
    println!("{usual:?} {files:?}: {:?} copies, {report}", report.copies_of_files);
    report
}

#[test]
fn what_is_spared_leaves_the_origin_once_beside_what_is_not() {
    for usual in [Policy::Fastest, Policy::SpareOrigin] {
        for (large, small) in [(Policy::Fastest, Policy::SpareOrigin), (Policy::SpareOrigin, Policy::Fastest)]
        {
            let seeds = 1..=4;
            let mut copies = [0.0; 2];
            for seed in seeds.clone() {
                let of_files = crowd(seed, usual, [Some(large), Some(small)]).copies_of_files;
                copies
                    .iter_mut()
                    .zip(of_files)
                    .for_each(|(mean, of)| *mean += of / seeds.clone().count() as f64);
            }
            for (policy, copies) in [(large, copies[0]), (small, copies[1])] {
                match policy {
                    Policy::SpareOrigin => {
                        assert!(copies <= 1.08, "{usual:?}: {copies} copies of what is spared")
                    }
                    _ => assert!(copies >= 5.0, "{usual:?}: {copies} copies of what is to be fast"),
                }
            }
        }
    }
}

#[test]
fn who_says_nothing_has_the_usual_one() {
    let with = |usual, own| crowd(1, usual, [own; 2]).trace_hash;
    for usual in [Policy::Fastest, Policy::SpareOrigin] {
        let other = if usual == Policy::Fastest { Policy::SpareOrigin } else { Policy::Fastest };
        assert_eq!(with(usual, None), with(usual, Some(usual)));
        assert_eq!(with(other, Some(usual)), with(usual, None), "to say it for each job is the same");
    }
}
