import ClusterMap
import Protocol
import Wire

/// Whether what a copy of a group has of snapshots fits together: heads and their clones, the index, and what is no more.
package enum VersionCheck {
    /// What is wrong in a copy at rest; nothing in a right one.
    ///
    /// - Parameters:
    ///   - attributes: of every object.
    ///   - keys: all of the group.
    ///   - trimmed: snapshots of which nothing may be left.
    package static func problems(
        attributes: [ObjectID: [String: Bytes]], keys: [KeyValue], trimmed: SnapIntervals
    ) -> [String] {
        var problems: [String] = []
        var expected: Set<Bytes> = []
        for (object, attributes) in attributes.sorted(by: { $0.key < $1.key }) {
            do {
                if object.snap == .head {
                    problems += try checkHead(object, attributes)
                } else {
                    let record = try CloneRecord(decoding: attributes["snapset"] ?? .empty)
                    problems += check(object, record, trimmed)
                    for snap in record.snaps { expected.insert(GroupKeys.snap(snap, object)) }
                }
            } catch {
                problems.append("\(object): what it says of snapshots cannot be read: \(error)")
            }
        }
        problems += checkSets(attributes)
        let index = Set(keys.lazy.map(\.key).filter { $0 >= GroupKeys.snapsStart && $0 < GroupKeys.snapsEnd })
        if index != expected {
            problems.append("the index has \(index.count) keys, the clones are for \(expected.count) snapshots")
        }
        return problems
    }

    private static func flags(_ attributes: [String: Bytes]) throws(WireError) -> ObjectFlags {
        try ObjectInfo(decoding: attributes[ObjectInfo.attribute] ?? .empty).flags
    }

    private static func checkHead(_ head: ObjectID, _ attributes: [String: Bytes]) throws(WireError) -> [String] {
        let flags = try flags(attributes)
        let set = try attributes["snapset"].map { value throws(WireError) in try SnapSet(decoding: value) }
        var problems: [String] = []
        if (set != nil) != flags.contains(.hasSnapshots) { problems.append("\(head): its flags are \(flags)") }
        if let set, let newest = set.clones.last, newest > set.sequence {
            problems.append("\(head): clone \(newest) after \(set.sequence)")
        }
        if flags.contains(.isWhiteout), set?.clones.isEmpty != false {
            problems.append("\(head) stands for clones and has none")
        }
        return problems
    }

    private static func check(_ clone: ObjectID, _ record: CloneRecord, _ trimmed: SnapIntervals) -> [String] {
        var problems: [String] = []
        if record.snaps.isEmpty || record.snaps.contains(where: { $0 > clone.snap }) {
            problems.append("\(clone) stands for \(record.snaps)")
        }
        for snap in record.snaps where trimmed.contains(snap) {
            problems.append("\(clone) still stands for \(snap), which is no more")
        }
        return problems
    }

    /// Every clone is in its head's set, and every clone of a set is there.
    private static func checkSets(_ attributes: [ObjectID: [String: Bytes]]) -> [String] {
        var named: Set<ObjectID> = []
        for (object, attributes) in attributes where object.snap == .head {
            guard let value = attributes["snapset"], let set = try? SnapSet(decoding: value) else { continue }
            named.formUnion(set.clones.map { object.at($0) })
        }
        let clones = Set(attributes.keys.filter { $0.snap != .head })
        return named.symmetricDifference(clones).sorted().map { clone in
            clones.contains(clone) ? "\(clone): its head does not know it" : "\(clone) is not there"
        }
    }
}
