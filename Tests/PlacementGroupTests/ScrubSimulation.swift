import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

/// Copies that go bad by themselves, and the administrator who has them looked for.
extension GroupCluster {
    /// Steps of a write that change metadata.
    func metadata(_ number: UInt64) -> [ObjectOperation] {
        guard writesMetadata else { return [] }
        let value = Bytes.encoding { $0.writeU64(number) }
        var steps: [ObjectOperation] = []
        if random.chance(40) { steps.append(.setAttribute(name: "a", value: value)) }
        if random.chance(40) { steps.append(.setOmap(entries: [KeyValue(Bytes("k\(number % 5)"), value)])) }
        if random.chance(20) { steps.append(.removeOmap(keys: [Bytes("k\(number % 3)")])) }
        return steps
    }

    /// The group's primary by the newest map, when it runs.
    func leader(of group: PGID) -> PlacementGroup<GroupHost>? {
        guard let osd = epochs[epochs.count - 1].placement(group).primary else { return nil }
        let host = hosts[Int(osd.rawValue)]
        let member = host.groups[Int(group.seed)]
        return host.isRunning && host.isServing && member.isPrimary ? member : nil
    }

    func administer(_ command: GroupCommand, _ group: PGID) {
        guard let leader = leader(of: group),
            let object = objects.first(where: { pool.group(ofHash: $0.hash) == group })
        else { return }
        let number = nextNumber
        nextNumber += 1
        let request = OperationRequest(
            id: RequestID(client: 1, number: number), epoch: clientEpoch, group: group, object: object,
            steps: [.administer(command)])
        leader.request(request, from: ClientHandle(session: 1))
    }

    /// Damages one copy of an object whose other copies are whole.
    func rotSomething(_ kinds: [MemoryStore.Rot]) {
        let group = groups.randomElement(using: &random)!
        guard let leader = leader(of: group), leader.statistics.state == .activeClean else { return }
        let within = objects.filter { pool.group(ofHash: $0.hash) == group && acknowledged[$0] != nil }
        guard let object = within.randomElement(using: &random), damaged[object] == nil,
            let kind = kinds.randomElement(using: &random),
            let osd = epochs[epochs.count - 1].placement(group).acting.randomElement(using: &random)
        else { return }
        // A primary that does not know that an object is there, or what it had, cannot know what a write makes of it.
        if kind == .missing || kind == .attribute, epochs[epochs.count - 1].placement(group).primary == osd { return }
        let host = hosts[Int(osd.rawValue)]
        guard host.isRunning, host.store.current.objects[object] != nil else { return }
        let stray = ObjectID(pool: object.pool, hash: object.hash, name: ObjectName("stray-\(object.name)"))
        host.store.rot(kind == .extra ? stray : object, kind)
        damaged[object] = osd
    }

    /// Has everything repaired until nothing is wrong.
    func repairAll(seed: UInt64) {
        for _ in 0..<6 {
            for group in groups { administer(.repair, group) }
            for _ in 0..<3000 { step(faults: false) }
            heal()
        }
        for group in groups { administer(.deepScrub, group) }
        for _ in 0..<3000 { step(faults: false) }
        heal()
        for group in groups {
            #expect(
                leader(of: group)?.statistics.inconsistent == 0, "seed \(seed): \(leader(of: group)?.summary ?? "")")
        }
        for host in hosts {
            let acting = groups.filter { epochs[epochs.count - 1].placement($0).acting.contains(host.osd) }
            let rotten = host.store.rotten.filter { acting.contains(pool.group(ofHash: $0.hash)) }
            #expect(rotten.isEmpty, "seed \(seed): \(host.osd) has bad data in \(rotten)")
        }
    }
}

@Suite struct ScrubSimulationTests {
    /// Copies go bad while clients write, and scrubs come and go: repair finds them all.
    @Test func repairHealsWhatGoesBadBesideWrites() {
        var branches: [RareBranch: Int] = [:]
        for seed in GroupSimulationTests.seeds.prefix(60) {
            let cluster = GroupCluster(seed: seed &+ 9000, osds: 3)
            cluster.writesMetadata = true
            for step in 0..<6000 {
                cluster.step(faults: false)
                if step % 300 == 299 { cluster.rotSomething(MemoryStore.Rot.allCases) }
                if step % 400 == 399 {
                    let command = [GroupCommand.scrub, .deepScrub, .repair].randomElement(using: &cluster.random)!
                    cluster.administer(command, cluster.groups.randomElement(using: &cluster.random)!)
                }
            }
            cluster.heal()
            cluster.repairAll(seed: seed)
            cluster.checkEnd(seed: seed)
            #expect(cluster.damaged.count > 0)
            branches.merge(cluster.branches) { $0 + $1 }
        }
        guard GroupSimulationTests.seeds.count > 1 else { return }
        for branch in [RareBranch.scrubFoundDamage, .scrubbedClean, .copyReplaced, .readRepaired, .waitedForScrub] {
            #expect(branches[branch, default: 0] > 0, "\(branch) never happened")
        }
    }

    /// The same among crashes, lost sessions and moves.
    @Test func repairHealsWhatGoesBadAmongFaults() {
        var branches: [RareBranch: Int] = [:]
        for seed in GroupSimulationTests.seeds.prefix(60) {
            let cluster = GroupCluster(seed: seed &+ 7000, osds: seed % 2 == 0 ? 3 : 5)
            cluster.writesMetadata = true
            for step in 0..<8000 {
                cluster.step(faults: step % 6 == 0)
                if step % 300 == 199 { cluster.rotSomething([.data, .omap, .info, .extra]) }
                if step % 300 == 299 {
                    let command = [GroupCommand.scrub, .deepScrub, .repair].randomElement(using: &cluster.random)!
                    cluster.administer(command, cluster.groups.randomElement(using: &cluster.random)!)
                }
            }
            cluster.heal()
            cluster.repairAll(seed: seed)
            cluster.checkEnd(seed: seed)
            branches.merge(cluster.branches) { $0 + $1 }
        }
        guard GroupSimulationTests.seeds.count > 1 else { return }
        for branch in [RareBranch.scrubFoundDamage, .copyReplaced, .readRepaired, .scrubPreempted, .scrubResumed] {
            #expect(branches[branch, default: 0] > 0, "\(branch) never happened")
        }
    }
}
