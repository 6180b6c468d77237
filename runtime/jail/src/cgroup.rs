//! Control groups: limits of the whole tree, under version 1 and version 2 of their file system, and
//! where a host has both, each resource under the one that carries it.
//!
//! Invariant: a limit is written before any process of the tree is in the group.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::freezer::Freezer;
use crate::layers::Layer;
use crate::sandbox::{ResourceName, Resources, SandboxPolicy};

/// The tree's groups on this host, one per resource.
#[derive(Debug)]
pub(crate) struct Groups {
    name: String,
    places: Vec<(ResourceName, Result<Place, String>)>,
    /// Where version 1 keeps groups that can be held still; under version 2 every group can.
    stillness: Option<Place>,
}

/// Where a resource's groups lie.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: Version,
    /// The group in which this process is.
    own: PathBuf,
    /// Where the file system is mounted; no group lies above.
    mount: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What a tree has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) memory_peak_bytes: Option<u64>,
    pub(crate) out_of_memory_kills: Option<u64>,
}

impl Groups {
    /// Finds out where this host keeps the groups of each resource.
    pub(crate) fn find(name: &str) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        let available = |place: &Place| {
            fs::read_to_string(place.own.join("cgroup.controllers")).unwrap_or_default()
        };
        let place = |name| locate(&mounts, &own, name, &available);
        Self {
            name: name.to_owned(),
            places: ResourceName::ALL
                .into_iter()
                .map(|resource| (resource, place(controller(resource))))
                .collect(),
            stillness: place("freezer").ok(),
        }
    }

    /// Makes a group for each limited resource, writes its limit, and moves this process into it.
    /// Returns what is in force, in the order of [`ResourceName::ALL`].
    ///
    /// # Errors
    /// A [`Fault`] for a resource that is limited and may not be lacked.
    pub(crate) fn join(&self, sandbox: &SandboxPolicy) -> Result<[Layer; 3], Fault> {
        self.join_stillness();
        let mut layers = [Layer::NotAsked, Layer::NotAsked, Layer::NotAsked];
        for ((resource, place), layer) in self.places.iter().zip(&mut layers) {
            if !is_limited(*resource, &sandbox.resources) {
                continue;
            }
            let joined = match place {
                Ok(place) => self
                    .limit(place, *resource, &sandbox.resources)
                    .and_then(|group| fs::write(group.join("cgroup.procs"), "0"))
                    .map_err(|error| format!("{}: {error}", place.own.display())),
                Err(reason) => Err(reason.clone()),
            };
            *layer = match joined {
                Ok(()) => Layer::Enforced,
                Err(reason) if sandbox.may_lack.contains(resource) => Layer::Unavailable { reason },
                Err(reason) => {
                    return Err(Fault {
                        what: format!("limit {resource} by a control group"),
                        source: io::Error::other(reason),
                        fix: format!(
                            "{DELEGATE}, or list `{resource}` in the setting sandbox.may_lack"
                        ),
                    });
                }
            };
        }
        Ok(layers)
    }

    /// Moves this process into a group that can be held still. Without one the tree is halted process
    /// by process, which takes longer and is as good in the end.
    fn join_stillness(&self) {
        let Some(place) = &self.stillness else {
            return;
        };
        let group = place.own.join(&self.name);
        match fs::create_dir(&group).and_then(|()| fs::write(group.join("cgroup.procs"), "0")) {
            Ok(()) | Err(_) => (),
        }
    }

    /// Returns by what the tree can be held still.
    pub(crate) fn freezer(&self) -> Option<Freezer> {
        let own = self
            .stillness
            .iter()
            .map(|place| place.own.join(&self.name));
        let limited = ResourceName::ALL;
        let limited = limited.into_iter().flat_map(|name| self.groups(name));
        own.chain(limited).find_map(|group| Freezer::of(&group))
    }

    /// Makes one group and writes its limit.
    fn limit(
        &self,
        place: &Place,
        resource: ResourceName,
        limits: &Resources,
    ) -> io::Result<PathBuf> {
        let parent = place.parent_for(resource)?;
        let group = parent.join(&self.name);
        match fs::create_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => (),
        }
        for (file, value, required) in settings(place.version, resource, limits) {
            match fs::write(group.join(file), &value) {
                // What only some kernels have.
                Err(error) if !required && error.kind() == io::ErrorKind::NotFound => (),
                Err(error) if !required && error.kind() == io::ErrorKind::PermissionDenied => (),
                done => done?,
            }
        }
        Ok(group)
    }

    /// Returns what the tree used so far.
    pub(crate) fn usage(&self) -> Usage {
        let Some(group) = self.groups(ResourceName::Memory).into_iter().next() else {
            return Usage::default();
        };
        let number = |file: &str| {
            fs::read_to_string(group.join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let keyed = |file: &str| {
            let text = fs::read_to_string(group.join(file)).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            line?.trim().parse().ok()
        };
        Usage {
            memory_peak_bytes: number("memory.peak")
                .or_else(|| number("memory.max_usage_in_bytes")),
            out_of_memory_kills: keyed("memory.events").or_else(|| keyed("memory.oom_control")),
        }
    }

    /// Removes the groups that were made. The tree is gone. Those that are not there are not asked for:
    /// where nothing can be written, as in containers, even that would be an error.
    ///
    /// # Errors
    /// When one is still in use.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let own = self
            .stillness
            .iter()
            .map(|place| place.own.join(&self.name))
            .filter(|group| group.is_dir());
        let limited = ResourceName::ALL;
        let limited = limited.into_iter().flat_map(|name| self.groups(name));
        for group in own.chain(limited) {
            match fs::remove_dir(&group) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => (),
            }
        }
        Ok(())
    }

    /// Returns the groups of a resource that exist: one, or none.
    fn groups(&self, resource: ResourceName) -> Vec<PathBuf> {
        let found = self.places.iter().find(|(name, _)| *name == resource);
        let Some((_, Ok(place))) = found else {
            return Vec::new();
        };
        place
            .parents()
            .map(|parent| parent.join(&self.name))
            .filter(|group| group.is_dir())
            .collect()
    }
}

/// Removes the empty groups of trees whose runtime is gone: a group is named `loki-PROCESS-NUMBER` after
/// the process that had it made. Returns how many there were; one that is still in use stays.
#[must_use]
pub fn remove_abandoned() -> usize {
    let groups = Groups::find("");
    let limited = groups
        .places
        .iter()
        .filter_map(|(_, place)| place.as_ref().ok());
    let parents: BTreeSet<PathBuf> = limited
        .flat_map(|place| place.parents().map(Path::to_owned))
        .chain(groups.stillness.iter().map(|place| place.own.clone()))
        .collect();
    let entries = parents
        .iter()
        .filter_map(|parent| fs::read_dir(parent).ok());
    let abandoned = entries.flatten().flatten().filter(|entry| {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix("loki-")?.split_once('-'))
            .and_then(|(process, _)| process.parse::<u32>().ok());
        process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
    });
    abandoned
        .filter(|entry| fs::remove_dir(entry.path()).is_ok())
        .count()
}

impl Place {
    /// Returns where a group may be made: within the own one, or beside it.
    fn parents(&self) -> impl Iterator<Item = &Path> {
        let beside = match self.version {
            Version::One => None,
            Version::Two => self
                .own
                .parent()
                .filter(|parent| parent.starts_with(&self.mount)),
        };
        std::iter::once(self.own.as_path()).chain(beside)
    }

    /// Picks the parent whose groups can limit the resource. Under version 2 a group with processes
    /// of its own cannot have such groups, so the runtime is best in a group of its own beside.
    fn parent_for(&self, resource: ResourceName) -> io::Result<&Path> {
        if self.version == Version::One {
            return Ok(&self.own);
        }
        let controller = controller(resource);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for parent in self.parents() {
            let switch = parent.join("cgroup.subtree_control");
            let on = fs::read_to_string(&switch).unwrap_or_default();
            if on.split_whitespace().any(|name| name == controller) {
                return Ok(parent);
            }
            match fs::write(&switch, format!("+{controller}")) {
                Ok(()) => return Ok(parent),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Finds the place of a resource's groups from what the kernel tells of mounts and of this process.
fn locate(
    mounts: &str,
    own: &str,
    controller: &str,
    available: &dyn Fn(&Place) -> String,
) -> Result<Place, String> {
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (left, right): (Vec<_>, Vec<_>) =
            (left.split(' ').collect(), right.split(' ').collect());
        let (Some(root), Some(mount), Some(kind)) = (left.get(3), left.get(4), right.first())
        else {
            continue;
        };
        let version = match *kind {
            "cgroup"
                if right
                    .get(2)
                    .is_some_and(|options| lists(options, controller)) =>
            {
                Version::One
            }
            "cgroup2" => Version::Two,
            _ => continue,
        };
        let Some(path) = own_path(own, version, controller) else {
            continue;
        };
        // In a process's own view of groups its path is relative to what is mounted.
        let path = path
            .strip_prefix(*root)
            .unwrap_or(path)
            .trim_start_matches('/');
        let place = Place {
            version,
            own: Path::new(mount).join(path),
            mount: PathBuf::from(mount),
        };
        if version == Version::One
            || available(&place)
                .split_whitespace()
                .any(|name| name == controller)
        {
            return Ok(place);
        }
    }
    Err(format!(
        "no control group file system on this host carries {controller}"
    ))
}

fn own_path<'text>(own: &'text str, version: Version, controller: &str) -> Option<&'text str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let matches = match version {
            Version::One => lists(controllers, controller),
            Version::Two => number == "0" && controllers.is_empty(),
        };
        matches.then_some(path)
    })
}

fn lists(list: &str, name: &str) -> bool {
    list.split(',').any(|entry| entry == name)
}

const fn controller(resource: ResourceName) -> &'static str {
    match resource {
        ResourceName::Cpu => "cpu",
        ResourceName::Memory => "memory",
        ResourceName::Processes => "pids",
    }
}

const fn is_limited(resource: ResourceName, limits: &Resources) -> bool {
    match resource {
        ResourceName::Cpu => limits.cpu_percent.is_some(),
        ResourceName::Memory => limits.memory_bytes.is_some(),
        ResourceName::Processes => limits.processes.is_some(),
    }
}

/// Lists file, value, and whether the file has to be there.
fn settings(
    version: Version,
    resource: ResourceName,
    limits: &Resources,
) -> Vec<(&'static str, String, bool)> {
    let quota = u64::from(limits.cpu_percent.unwrap_or_default()) * (PERIOD_MICROSECONDS / 100);
    let memory = limits.memory_bytes.unwrap_or_default().to_string();
    let processes = limits.processes.unwrap_or_default().to_string();
    match (resource, version) {
        (ResourceName::Cpu, Version::One) => vec![
            ("cpu.cfs_period_us", PERIOD_MICROSECONDS.to_string(), true),
            ("cpu.cfs_quota_us", quota.to_string(), true),
        ],
        (ResourceName::Cpu, Version::Two) => {
            vec![("cpu.max", format!("{quota} {PERIOD_MICROSECONDS}"), true)]
        }
        (ResourceName::Memory, Version::One) => vec![
            ("memory.limit_in_bytes", memory.clone(), true),
            ("memory.memsw.limit_in_bytes", memory, false),
        ],
        (ResourceName::Memory, Version::Two) => vec![
            ("memory.max", memory, true),
            ("memory.swap.max", "0".to_owned(), false),
            ("memory.oom.group", "0".to_owned(), false),
        ],
        (ResourceName::Processes, Version::One | Version::Two) => {
            vec![("pids.max", processes, true)]
        }
    }
}

/// The length of a period in which processor time is shared out.
const PERIOD_MICROSECONDS: u64 = 100_000;

const DELEGATE: &str = "run the runtime as root, or as a systemd service with Delegate=yes and \
                        DelegateSubgroup=runtime";

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
30 24 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[track_caller]
    fn check(
        mounts: &str,
        own: &str,
        resource: ResourceName,
        controllers: &str,
        expected: Option<(Version, &str)>,
    ) {
        let found = locate(mounts, own, controller(resource), &|_| {
            controllers.to_owned()
        });
        let found = found.map(|place| (place.version, place.own));
        assert_eq!(
            found.ok(),
            expected.map(|(version, own)| (version, PathBuf::from(own)))
        );
    }

    #[test]
    fn each_resource_is_found_where_it_is_carried() {
        let own = "5:memory:/user/me\n4:cpu,cpuacct:/\n0::/\n";
        check(V1, own, ResourceName::Processes, "hugetlb", None);
        check("", own, ResourceName::Cpu, "", None);
        let memory = Some((Version::One, "/sys/fs/cgroup/memory/user/me"));
        check(V1, own, ResourceName::Memory, "hugetlb", memory);
        let cpu = Some((Version::One, "/sys/fs/cgroup/cpu,cpuacct/"));
        check(V1, own, ResourceName::Cpu, "hugetlb", cpu);
        let unified = "29 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "0::/system.slice/loki.service/runtime\n";
        let place = "/sys/fs/cgroup/system.slice/loki.service/runtime";
        for resource in ResourceName::ALL {
            check(
                unified,
                own,
                resource,
                "cpu memory pids",
                Some((Version::Two, place)),
            );
        }
        let contained = "29 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        let own = "0::/docker/abc\n";
        check(
            contained,
            own,
            ResourceName::Memory,
            "memory",
            Some((Version::Two, "/sys/fs/cgroup/")),
        );
    }
}
