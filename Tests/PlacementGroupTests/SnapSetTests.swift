import ClusterMap
import Foundation
import PlacementGroup
import Protocol
import Testing
import Wire

/// An object and its clones as a store would have them: only what `SnapSet` decides is done to whole contents.
private struct Versions {
    var set = SnapSet()
    var head: [UInt8]?
    var contents: [SnapID: [UInt8]] = [:]
    var records: [SnapID: CloneRecord] = [:]
    /// Snapshots to clones, as the index of a group has them.
    var index: [SnapID: Set<SnapID>] = [:]
    var removed = SnapIntervals()

    mutating func prepare(_ context: SnapContext) {
        let removed = removed
        let made = set.take(
            context, exists: head != nil, size: UInt64(head?.count ?? 0), isRemoved: { removed.contains($0) })
        guard let made else { return }
        contents[made.id] = head
        records[made.id] = made.record
        for snap in made.record.snaps { index[snap, default: []].insert(made.id) }
    }

    mutating func write(_ bytes: [UInt8], at offset: Int, _ context: SnapContext) {
        prepare(context)
        var content = head ?? []
        if content.count < offset { _ = set.changed(from: UInt64(content.count)) }
        _ = set.changed(offset: UInt64(offset), length: UInt64(bytes.count))
        let end = offset + bytes.count
        if content.count < end { content += [UInt8](repeating: 0, count: end - content.count) }
        content.replaceSubrange(offset..<end, with: bytes)
        head = content
    }

    mutating func truncate(_ size: Int, _ context: SnapContext) {
        guard let content = head else { return }
        prepare(context)
        _ = set.changed(from: UInt64(min(size, content.count)))
        head = Array(content.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - content.count))
    }

    mutating func remove(_ context: SnapContext) {
        guard head != nil else { return }
        prepare(context)
        _ = set.changed(from: 0)
        head = nil
        // Nothing is left to hang versions on.
        if set.clones.isEmpty { set = SnapSet() }
    }

    mutating func rollback(to snap: SnapID, _ context: SnapContext) {
        switch set.version(at: snap, headExists: head != nil, records: { records[$0] }) {
        case .head: return
        case .none: remove(context)
        case .clone(let clone):
            prepare(context)
            let content = contents[clone]!
            set.rolledBack(to: clone, size: UInt64(content.count), records: { records[$0] })
            head = content
        }
    }

    func read(at snap: SnapID) -> [UInt8]? {
        switch set.version(at: snap, headExists: head != nil, records: { records[$0] }) {
        case .head: head
        case .none: nil
        case .clone(let clone): contents[clone]
        }
    }

    /// Trims one clone of a removed snapshot. False when there is none.
    mutating func trimOne() -> Bool {
        for snap in index.keys.sorted() where removed.contains(snap) {
            guard let clone = index[snap]!.min() else {
                index[snap] = nil
                continue
            }
            let record = records[clone]!
            let removed = removed
            for gone in record.snaps where removed.contains(gone) { index[gone]?.remove(clone) }
            switch set.trim(clone, record, isRemoved: { removed.contains($0) }, records: { records[$0] }) {
            case .keep(let next): records[clone] = next
            case .remove(let newer, let next):
                records[clone] = nil
                contents[clone] = nil
                if let newer { records[newer] = next }
                if set.clones.isEmpty, head == nil { set = SnapSet() }
            }
            return true
        }
        return false
    }

    /// Every block that is said to be the same is the same.
    func checkOverlaps(_ seed: UInt64) {
        var versions = set.clones.map { (contents[$0]!, records[$0]!.overlap) }
        if let head { versions.append((head, set.overlap)) } else { #expect(set.overlap.isEmpty) }
        for (older, newer) in zip(versions, versions.dropFirst()) {
            for range in newer.1.ranges(upTo: UInt64(newer.0.count)) {
                let range = Int(range.lowerBound)..<Int(range.upperBound)
                #expect(
                    range.upperBound <= older.0.count && older.0[range] == newer.0[range],
                    "seed \(seed): \(range) is not the same")
            }
        }
        if let first = versions.first { #expect(first.1.isEmpty, "seed \(seed): the oldest is the same as nothing") }
    }
}

@Suite struct SnapSetTests {
    static var seeds: [UInt64] {
        if let text = ProcessInfo.processInfo.environment["NACRE_SEED"], let seed = UInt64(text) { return [seed] }
        return Array(1...60)
    }

    private func context(_ live: [SnapID], _ sequence: SnapID) -> SnapContext {
        SnapContext(sequence: sequence, snaps: live.sorted(by: >))!
    }

    /// Against copies of everything: what every living snapshot reads is what was there when it was made.
    @Test func snapshotsReadWhatWasThere() {
        for seed in Self.seeds {
            var random = SeededGenerator(seed: seed)
            var object = Versions()
            var sequence = SnapID.none
            var model: [SnapID: [UInt8]?] = [:]
            var known = SnapContext.none
            for step in 0..<120 {
                switch Int.random(in: 0..<20, using: &random) {
                case 0..<4:
                    sequence = SnapID(sequence.rawValue + 1 + UInt64.random(in: 0..<2, using: &random))
                    model[sequence] = .some(object.head)
                    known = context(Array(model.keys), sequence)
                case 4..<6:
                    guard let gone = model.keys.sorted().randomElement(using: &random) else { break }
                    model.removeValue(forKey: gone)
                    object.removed.insert(gone)
                    // The writer may not have heard.
                    if Bool.random(using: &random) { known = context(Array(model.keys), sequence) }
                case 6..<13:
                    let count = Int.random(in: 1...9000, using: &random)
                    let byte = UInt8.random(in: 0...255, using: &random)
                    object.write(
                        [UInt8](repeating: byte, count: count), at: Int.random(in: 0...30000, using: &random), known)
                case 13: object.truncate(Int.random(in: 0...40000, using: &random), known)
                case 14: object.remove(known)
                case 15..<17:
                    guard let snap = model.keys.sorted().randomElement(using: &random) else { break }
                    object.rollback(to: snap, known)
                    #expect(object.head == model[snap]!, "seed \(seed): rollback to \(snap)")
                default: _ = object.trimOne()
                }
                for (snap, content) in model {
                    #expect(object.read(at: snap) == content, "seed \(seed): read at \(snap)")
                }
                if step % 8 == 0 { object.checkOverlaps(seed) }
            }
            for snap in model.keys { object.removed.insert(snap) }
            while object.trimOne() {}
            #expect(object.contents.isEmpty && object.set.clones.isEmpty, "seed \(seed): clones are left")
        }
    }

    @Test func aWriterWithAnOldContextMakesNoClone() {
        var set = SnapSet()
        let five = SnapContext(sequence: SnapID(5), snaps: [SnapID(5)])!
        let three = SnapContext(sequence: SnapID(3), snaps: [SnapID(3)])!
        let made = [five, three, .none].map { set.take($0, exists: true, size: 10, isRemoved: { _ in false })?.id }
        #expect(made == [SnapID(5), nil, nil])
        #expect(set.sequence == SnapID(5) && set.clones == [SnapID(5)])
    }

    @Test func noCloneIsMadeForASnapshotThatIsNoMore() {
        var set = SnapSet()
        let context = SnapContext(sequence: SnapID(5), snaps: [SnapID(5), SnapID(2)])!
        let made = set.take(context, exists: true, size: 10, isRemoved: { _ in true })
        #expect(made == nil)
        #expect(set.sequence == SnapID(5))
    }

    @Test func setsAndRecordsSurviveTheirEncoding() throws {
        var set = SnapSet()
        let context = SnapContext(sequence: SnapID(9), snaps: [SnapID(8), SnapID(2)])!
        let made = set.take(context, exists: true, size: 70000, isRemoved: { _ in false })
        let clone = try #require(made)
        _ = set.changed(offset: 5000, length: 10)
        #expect(try SnapSet(decoding: set.encoded) == set)
        #expect(try CloneRecord(decoding: clone.record.encoded) == clone.record)
        #expect(set.overlap.ranges(upTo: 70000) == [0..<4096, 8192..<70000])
        // Whatever bytes there are, nothing crashes.
        var random = SeededGenerator(seed: 3)
        for _ in 0..<2000 {
            var bytes = set.encoded.array
            for _ in 0..<3 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? SnapSet(decoding: Bytes(bytes))
            _ = try? CloneRecord(decoding: Bytes(bytes))
        }
    }
}
