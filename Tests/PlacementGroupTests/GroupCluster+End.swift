import PlacementGroup
import Protocol
import Testing
import Wire

/// What a run must come to.
extension GroupCluster {
    /// Every group is clean, all copies are equal, and have what was acknowledged.
    func checkEnd(seed: UInt64) {
        for group in groups {
            #expect(
                isClean(group),
                "seed \(seed): \(hosts.map { $0.groups[Int(group.seed)].summary }.joined(separator: "\n"))")
            let acting = epochs[epochs.count - 1].placement(group).acting
            let contents = acting.map { osd in
                hosts[Int(osd.rawValue)].store.durable.objects.filter { pool.group(ofHash: $0.key.hash) == group }
            }
            for content in contents.dropFirst() {
                #expect(content == contents[0], "copies of \(group) differ, seed \(seed)")
            }
            for (object, value) in acknowledged where pool.group(ofHash: object.hash) == group {
                guard value != 0 else {
                    #expect(contents.first?[object] == nil, "\(object) was removed, seed \(seed)")
                    continue
                }
                let data = contents.first?[object]?.data ?? []
                var reader = ByteReader(Bytes(data))
                #expect((try? reader.readU64()) == value, "\(object) at the end, seed \(seed)")
            }
        }
    }
}
