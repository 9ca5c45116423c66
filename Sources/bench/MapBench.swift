import AllocationCounter
import CRUSH
import ClusterMap
import Wire

/// What a map of 10,000 OSDs in four levels costs: 16 rows of 25 racks of 5 hosts of 5 OSDs, 65,536 groups of three copies.
enum MapBench {
    static let groups: UInt32 = 65_536

    static func run() {
        print("| a map of 10,000 OSDs (4 levels, fan-out to 25), 65,536 groups of 3, one core | |\n|---|---|")
        var map = large()
        let pool = map.poolsInOrder[0]
        var buffer = OSDMap.PlacementBuffer()
        map.place(0, in: pool, into: &buffer)
        let before = allocation_count()
        var sum = placeAll(map, pool, &buffer)
        let allocations = allocation_count() - before
        let all = Bench.best(of: 5) { sum &+= placeAll(map, pool, &buffer) }
        Bench.show("all groups, ms", decimal(all * 1000))
        Bench.show("one group, µs", decimal(all / Double(groups) * 1e6))
        Bench.show("allocations in \(groups) mappings", "\(allocations)")
        show("all groups after an OSD went down, with the increment applied, ms", &map, pool, &buffer, &sum) {
            $1.osds[OSDID(4711)] = $0.osds[OSDID(4711)]
            $1.osds[OSDID(4711)]?.isUp = false
        }
        show("all groups after an OSD was reweighted, with the increment applied, ms", &map, pool, &buffer, &sum) {
            $1.osds[OSDID(17)] = $0.osds[OSDID(17)]
            $1.osds[OSDID(17)]?.reweight = 0x8000
        }
        var crush = map.crush
        let editing = Bench.now
        do { try crush.reweight(OSDID(99), to: CRUSHWeight(2 << 16)) } catch { preconditionFailure("\(error)") }
        Bench.show("a CRUSH weight changed, ms", decimal((Bench.now - editing) * 1000))
        show("all groups after that, with the increment applied, ms", &map, pool, &buffer, &sum) { $1.crush = crush }
        let balancing = Bench.now
        let plan = Balancer.plan(for: map)
        Bench.show("a plan that levels all groups, s", decimal(Bench.now - balancing))
        Bench.show("copies that it moves (the least possible)", "\(plan.moves.count) (\(plan.leastMoves))")
        let spreads = (plan.totalBefore, plan.totalAfter)
        Bench.show(
            "copies off the ideal, before and after",
            "\(decimal(spreads.0.lowest)) +\(decimal(spreads.0.highest)), \(decimal(spreads.1.lowest)) +\(decimal(spreads.1.highest))"
        )
        map.exceptions.apply(plan.changes)
        let mapped = Bench.best(of: 5) { sum &+= placeAll(map, pool, &buffer) }
        Bench.show("all groups with \(plan.changes.upmapItems.count) of them in upmaps, ms", decimal(mapped * 1000))
        precondition(sum != 0, "the work was left out")
    }

    /// What a monitor or an OSD does for an epoch: applies the increment, and asks where every group is.
    private static func show(
        _ what: String, _ map: inout OSDMap, _ pool: Pool, _ buffer: inout OSDMap.PlacementBuffer, _ sum: inout Int,
        _ change: (OSDMap, inout OSDMap.Increment) -> Void
    ) {
        var increment = OSDMap.Increment(epoch: map.epoch.next)
        change(map, &increment)
        increment.resultChecksum = Checksum.crc32c(map.changed(by: increment).encoded)
        let began = Bench.now
        do { map = try map.applying(increment) } catch { preconditionFailure("\(error)") }
        sum &+= placeAll(map, pool, &buffer)
        Bench.show(what, decimal((Bench.now - began) * 1000))
    }

    private static func placeAll(_ map: OSDMap, _ pool: Pool, _ buffer: inout OSDMap.PlacementBuffer) -> Int {
        var sum = 0
        for seed in 0..<groups {
            map.place(seed, in: pool, into: &buffer)
            for osd in buffer.acting { sum &+= Int(osd.rawValue) }
        }
        return sum
    }

    private static func large() -> OSDMap {
        let types = CRUSHMap.newCluster().types
        var buckets: [Bucket] = []
        var devices: [Device] = []
        var next = ItemID(-1)
        func add(_ name: String, _ type: UInt16, _ items: [Bucket.Item]) -> Bucket.Item {
            let bucket = Bucket(id: next, name: name, type: TypeID(type), items: items)
            buckets.append(bucket)
            next = ItemID(next.rawValue - 1)
            return Bucket.Item(id: bucket.id, weight: bucket.weight)
        }
        let rows = (0..<16).map { row in
            let racks = (0..<25).map { rack in
                let hosts = (0..<5).map { host in
                    let osds = (0..<5).map { _ in
                        let id = OSDID(Int32(devices.count))
                        devices.append(Device(id: id, name: id.description))
                        return Bucket.Item(id: ItemID(id), weight: .one)
                    }
                    return add("host\(row)-\(rack)-\(host)", 1, osds)
                }
                return add("rack\(row)-\(rack)", 3, hosts)
            }
            return add("row\(row)", 4, racks)
        }
        let root = add("default", 11, rows)
        let rule = Rule(
            id: RuleID(0), name: "r", steps: [.take(root.id), .chooseLeafFirstN(count: 0, type: .host), .emit])
        let crush: CRUSHMap
        do {
            crush = try CRUSHMap(tunables: .jewel, types: types, devices: devices, buckets: buckets, rules: [rule])
        } catch { preconditionFailure("\(error)") }
        var map = OSDMap(cluster: UniqueID(high: 1, low: 2), crush: crush)
        map.epoch = Epoch(1)
        for device in devices {
            var record = OSDRecord(uuid: UniqueID(high: 3, low: UInt64(device.id.rawValue)))
            record.isUp = true
            record.endpoint = Endpoint(host: "10.0.0.1", port: 6800)
            map.osds[device.id] = record
        }
        map.pools[PoolID(1)] = Pool(
            id: PoolID(1), name: "p", size: 3, minSize: 2, groupCount: groups, rule: 0, created: Epoch(1))
        return map
    }

    private static func decimal(_ value: Double) -> String {
        let digits = "\(Int((abs(value) * 100).rounded()))"
        let padded = String(repeating: "0", count: max(0, 3 - digits.count)) + digits
        return (value < 0 ? "-" : "") + padded.dropLast(2) + "." + padded.suffix(2)
    }
}
