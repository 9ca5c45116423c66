import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

/// One OSD of the simulated cluster: its groups, its store, and what has reached it.
final class GroupHost: GroupEnvironment {
    let osd: OSDID
    unowned let cluster: GroupCluster
    var store = MemoryStore()
    var groups: [PlacementGroup<GroupHost>] = []
    var incarnation = 0
    var isRunning = true
    var isServing = false
    var epoch = Epoch(1)
    var early: [(from: OSDID, message: GroupMessage)] = []
    var earlyRequests: [(OperationRequest, ClientHandle)] = []
    var reads: [(ObjectID, UInt64, Int, UInt32, GroupSlot)] = []
    var turns: [(kind: TurnKind, group: GroupSlot, isGranted: Bool)] = []
    var recoveries = 0
    var starved: [GroupSlot] = []

    init(osd: OSDID, cluster: GroupCluster) {
        self.osd = osd
        self.cluster = cluster
    }

    var nowMilliseconds: UInt64 { cluster.now }
    var wallNanoseconds: UInt64 { 1_700_000_000_000_000_000 + cluster.now * 1_000_000 }
    var classes = ObjectClasses.standard
    /// Runs of clients that are blocklisted by this OSD's map.
    var blocklist: Set<UInt64> { cluster.epochs[Int(epoch.rawValue)].blocklist }
    var hasBlocklist: Bool { !blocklist.isEmpty }
    func isBlocklisted(_ client: UInt64) -> Bool { blocklist.contains(client) }
    func tell(_ event: WatchEvent, to client: ClientHandle) { cluster.events.append((event, client)) }
    var scrubSteps: [GroupSlot] = []
    func requestScrubStep(for group: GroupSlot, isUrgent: Bool) {
        if !scrubSteps.contains(group) { scrubSteps.append(group) }
    }
    var leaseEnd = UInt64.max
    var promises: [OSDID: UInt32] = [:]
    /// Reads that fail from now on.
    var failingReads = 0
    var isFull = false
    /// What the store says at its next start that it has lost a part of.
    var damaged: [ObjectID] = []
    func requestUpThru(_ epoch: Epoch) { cluster.upThruWanted.append((osd, incarnation, epoch)) }
    func requestActing(_ osds: [OSDID]?, for group: PGID) {
        if let osds { cluster.actingWanted.append((osd, incarnation, group, osds)) }
    }
    func requestTurn(_ kind: TurnKind, for group: GroupSlot) {
        if let turn = turns.first(where: { $0.kind == kind && $0.group == group }) {
            if turn.isGranted { groups[Int(group.index)].turnGranted(kind) }
        } else {
            turns.append((kind, group, false))
        }
    }
    func releaseTurn(_ kind: TurnKind, for group: GroupSlot) {
        turns.removeAll { $0.kind == kind && $0.group == group }
    }
    func beginRecovery(for group: GroupSlot) -> Bool {
        if recoveries >= 3 {
            if !starved.contains(group) { starved.append(group) }
            return false
        }
        recoveries += 1
        return true
    }
    func endRecovery() { recoveries -= 1 }
    func reportSoon() {}
    var recoveredObjects = 0
    func recovered(bytes: UInt64) { recoveredObjects += 1 }
    var areClientsQuiet: Bool { cluster.random.chance(50) }
    /// Pushes that pause.
    var paused: [(number: UInt32, group: GroupSlot)] = []
    func pausePush(_ number: UInt32, for group: GroupSlot, took: UInt64) -> Bool {
        guard cluster.random.chance(30) else { return false }
        paused.append((number, group))
        return true
    }
    var tuning: GroupTuning {
        var tuning = GroupTuning()
        (tuning.logCut, tuning.logKept, tuning.requestsKept, tuning.scan) = (16, 8, 24, 2)
        tuning.scrubObjects = 3
        if cluster.sendsParts { tuning.part = 3 } else { tuning.scan = 1 }
        return tuning
    }
    func occurred(_ branch: RareBranch) { cluster.branches[branch, default: 0] += 1 }
    func leaseEnd(from members: [OSDID]) -> UInt64 { members.isEmpty ? .max : leaseEnd }
    func promise(to primary: OSDID) -> UInt32 { promises[primary] ?? 0 }
    func isKnownDead(_ osd: OSDID, afterLeadingUntil epoch: Epoch) -> Bool { !cluster.undead.contains(osd) }
    func name(of client: ClientHandle) -> String? { "client" }
    func isUp(_ osd: OSDID) -> Bool { cluster.epochs[Int(epoch.rawValue)].up.contains(osd) }

    func send(_ message: GroupMessage, to osd: OSDID) {
        // Through the codec, as on a network.
        guard let copy = try? Message(decoding: Message.group(message).encoded), case .group(let decoded) = copy else {
            preconditionFailure("message does not decode: \(message)")
        }
        cluster.send(decoded, from: self.osd, to: osd)
    }
    func send(_ message: GroupMessage, to osds: [OSDID]) { for osd in osds { send(message, to: osd) } }
    func reply(_ reply: OperationReply, to client: ClientHandle) { cluster.replies.append(reply) }
    func commit(_ transaction: Transaction, for group: GroupSlot) { store.submit(transaction, for: group) }
    func read(_ object: ObjectID, offset: UInt64, length: Int, number: UInt32, for group: GroupSlot) {
        reads.append((object, offset, length, number, group))
    }
    func size(of object: ObjectID) -> UInt64? { store.current.objects[object].map { UInt64($0.data.count) } }
    func extents(of object: ObjectID, offset: UInt64, length: UInt64) -> [Range<UInt64>] {
        let data = store.current.objects[object]?.data ?? []
        let end = min(UInt64(data.count), offset + length)
        return stride(from: offset / 4096 * 4096, to: max(offset, end), by: 4096).compactMap { start in
            let part = max(start, offset)..<min(start + 4096, end)
            return data[Int(start)..<min(Int(start) + 4096, data.count)].allSatisfy { $0 == 0 } ? nil : part
        }
    }
    func attribute(_ name: String, of object: ObjectID) -> Bytes? {
        store.current.objects[object]?.attributes[name]
    }
    func attributes(of object: ObjectID) -> [Attribute] {
        (store.current.objects[object]?.attributes ?? [:]).sorted { $0.key < $1.key }.map {
            Attribute($0.key, $0.value)
        }
    }
    func omapValues(of object: ObjectID, keys: [Bytes]) -> [KeyValue] {
        keys.compactMap { key in store.current.objects[object]?.omap[key].map { KeyValue(key, $0) } }
    }
    func omapSize(of object: ObjectID, limit: Int) -> Int {
        (store.current.objects[object]?.omap ?? [:]).reduce(0) { $0 + $1.key.count + $1.value.count }
    }
    func omap(of object: ObjectID, after: Bytes, prefix: Bytes, limit: Int) -> [KeyValue] {
        let entries = (store.current.objects[object]?.omap ?? [:]).filter {
            $0.key > after && $0.key.array.starts(with: prefix.array)
        }
        return entries.sorted { $0.key < $1.key }.prefix(limit).map { KeyValue($0.key, $0.value) }
    }
    func objects(in range: ObjectRange, after: ObjectID?, limit: Int) -> [ObjectID] {
        let within = store.current.objects.keys.filter { id in range.contains(id) && (after.map { id > $0 } ?? true) }
        return Array(within.sorted().prefix(limit))
    }
    func groupKeys(_ group: PGID, from: Bytes, to: Bytes, limit: Int) -> [KeyValue] {
        let keys = (store.current.groups[group] ?? [:]).filter { $0.key >= from && $0.key < to }
        return keys.sorted { $0.key < $1.key }.prefix(limit).map { KeyValue($0.key, $0.value) }
    }

    /// Creates the groups from the store and goes through the maps up to the newest.
    func start() {
        epoch = Epoch(1)
        turns.removeAll()
        scrubSteps.removeAll()
        starved.removeAll()
        paused.removeAll()
        recoveries = 0
        let first = cluster.epochs[1]
        groups = cluster.groups.enumerated().map { index, id in
            PlacementGroup(
                id: id, slot: GroupSlot(index: UInt32(index)), pool: cluster.pool(first),
                intervals: IntervalHistory(
                    group: id, pool: cluster.pool, placement: first.placement(id), upThru: first.upThru(of: id)),
                environment: self)
        }
        isServing = false
        if first.incarnations[osd] == incarnation, first.up.contains(osd) { serve() }
        while Int(epoch.rawValue) + 1 < cluster.epochs.count { advance() }
    }

    private func serve() {
        isServing = true
        let count = cluster.epochs[Int(epoch.rawValue)].groupCount
        for group in groups where group.id.seed < count { group.begin(damaged: damaged) }
        damaged = []
    }

    func advance() {
        epoch = epoch.next
        let record = cluster.epochs[Int(epoch.rawValue)]
        if let merge = record.merge, merge.epoch == epoch { groups[0].merge(Array(groups[1...]), merge) }
        for group in groups where group.id.seed < record.groupCount {
            group.advance(
                to: epoch, pool: cluster.pool(record), placement: record.placement(group.id),
                upThru: record.upThru(of: group.id))
        }
        if !isServing, record.up.contains(osd), record.incarnations[osd] == incarnation { serve() }
        let held = early
        early.removeAll()
        for (from, message) in held { receive(message, from: from) }
        let requests = earlyRequests
        earlyRequests.removeAll()
        for (request, client) in requests { receive(request, from: client) }
    }

    func receive(_ message: GroupMessage, from: OSDID) {
        guard isServing, message.interval <= epoch else { return early.append((from, message)) }
        groups[Int(message.group.seed)].received(message, from: from)
    }

    func receive(_ request: OperationRequest, from client: ClientHandle) {
        guard isServing, request.epoch <= epoch else { return earlyRequests.append((request, client)) }
        let group = groups[Int(request.group.seed)]
        if group.isPrimary { group.request(request, from: client) }
    }

    func completeRead(at index: Int) {
        let (object, offset, length, number, slot) = reads.remove(at: index)
        if store.rotten.contains(object) {
            return groups[Int(slot.index)].readCompleted(number, .failed("bad checksum"))
        }
        if failingReads > 0 {
            failingReads -= 1
            return groups[Int(slot.index)].readCompleted(number, .failed("bad checksum"))
        }
        let data = store.current.objects[object]?.data ?? []
        let slice = data.dropFirst(Int(offset)).prefix(length)
        groups[Int(slot.index)].readCompleted(number, .data(Bytes(Array(slice))))
    }
}

/// A cluster of placement groups under a seed: maps, crashes, lost sessions and clients at random, and the history of every
/// object checked.
final class GroupCluster {
    struct EpochRecord {
        var up: Set<OSDID>
        var incarnations: [OSDID: Int]
        var raw: [PGID: [OSDID]]
        var upThru: [OSDID: Epoch] = [:]
        var temporary: [PGID: [OSDID]] = [:]
        var snapshots: PoolSnapshots?
        var blocklist: Set<UInt64> = []
        /// How many groups there are, and how they become fewer.
        var groupCount: UInt32 = 2
        var lowering: Pool.Lowering?
        var merge: Pool.Merge?

        func placement(_ group: PGID) -> OSDMap.Placement {
            let up = (raw[group] ?? []).filter { self.up.contains($0) }
            let temporary = (temporary[group] ?? []).filter { self.up.contains($0) }
            return OSDMap.Placement(up: up, acting: temporary.isEmpty ? up : temporary)
        }

        func upThru(of group: PGID) -> Epoch { placement(group).primary.flatMap { upThru[$0] } ?? .none }
    }

    struct Operation {
        var request: OperationRequest
        var isWrite: Bool
        /// What it writes; 0 for a removal.
        var value: UInt64
    }

    let pool: Pool
    let groups: [PGID]
    var random: SeededGenerator
    var hosts: [GroupHost] = []
    var epochs: [EpochRecord] = []
    var links: [[(message: GroupMessage, from: Int, to: Int)]] = []
    var requests: [(request: OperationRequest, to: OSDID, incarnation: Int)] = []
    var replies: [OperationReply] = []
    /// What watchers were told.
    var events: [(event: WatchEvent, to: ClientHandle)] = []
    var clientEpoch = Epoch(1)
    var actingWanted: [(osd: OSDID, incarnation: Int, group: PGID, osds: [OSDID])] = []
    var branches: [RareBranch: Int] = [:]
    var now: UInt64 = 0
    /// OSDs that are down without proof that their processes have ended.
    var undead: Set<OSDID> = []
    /// Another `min_size` than the pool's, from the next epoch on.
    var minSize: UInt8?
    var upThruWanted: [(osd: OSDID, incarnation: Int, epoch: Epoch)] = []
    /// The one operation under way on each object.
    var pending: [ObjectID: Operation] = [:]
    /// The last acknowledged value of each object.
    var acknowledged: [ObjectID: UInt64] = [:]
    var nextNumber: UInt64 = 1
    /// True when writes change attributes and omap, too.
    var writesMetadata = false
    /// Whose copy of an object was damaged last.
    var damaged: [ObjectID: OSDID] = [:]
    var completed = 0
    /// What clients do and what it must come to, when it is more than values of whole objects.
    var history: SnapshotHistory?
    let objects: [ObjectID]
    let copies = 3
    /// Whether objects are sent in several parts.
    var sendsParts: Bool

    init(seed: UInt64, osds: Int) {
        random = SeededGenerator(seed: seed)
        sendsParts = seed % 3 == 0
        pool = Pool(id: PoolID(1), name: "p", size: 3, minSize: 2, groupCount: 2, rule: 0, created: Epoch(1))
        groups = Array(pool.groups)
        objects = (0..<12).map { ObjectID(pool: PoolID(1), hash: UInt32($0 * 7 + 1), name: ObjectName("o\($0)")) }
        let all = (0..<osds).map { OSDID(Int32($0)) }
        let raw = Dictionary(uniqueKeysWithValues: groups.map { ($0, Array(all.prefix(copies))) })
        let first = EpochRecord(
            up: Set(all), incarnations: Dictionary(uniqueKeysWithValues: all.map { ($0, 0) }), raw: raw)
        epochs = [EpochRecord(up: [], incarnations: [:], raw: [:]), first]
        links = Array(repeating: [], count: osds * osds)
        hosts = all.map { GroupHost(osd: $0, cluster: self) }
        for host in hosts { host.start() }
    }

    func send(_ message: GroupMessage, from: OSDID, to: OSDID) {
        let (a, b) = (Int(from.rawValue), Int(to.rawValue))
        links[a * hosts.count + b].append((message, hosts[a].incarnation, hosts[b].incarnation))
    }

    func newEpoch(_ change: (inout EpochRecord) -> Void) {
        var record = epochs[epochs.count - 1]
        change(&record)
        epochs.append(record)
    }

    /// The pool as an epoch has it.
    func pool(_ record: EpochRecord) -> Pool {
        var pool = pool
        pool.snapshots = record.snapshots
        if let minSize { pool.minSize = minSize }
        (pool.groupCount, pool.placementGroupCount) = (record.groupCount, record.groupCount)
        (pool.lowering, pool.merge) = (record.lowering, record.merge)
        return pool
    }

    // MARK: Events

    func step(faults: Bool) {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<45: deliver()
        case 45..<65: completeDisk()
        case 65..<69: completeRead()
        case 69: grantTurn()
        case 70..<78: deliverRequest()
        case 78..<84: advanceSomeone()
        case 84..<95: startOperation()
        case 95..<97 where faults: crashOrRestart()
        case 97 where faults: changePlacement()
        case 98 where faults: resetSession()
        case 99: Bool.random(using: &random) ? commitUpThru() : commitActing()
        default: handleReplies()
        }
        handleReplies()
    }

    /// A message and what some disk has finished.
    func goOn() {
        deliver()
        completeDisk()
    }

    private func deliver() {
        let busy = links.indices.filter { !links[$0].isEmpty }
        guard let link = busy.randomElement(using: &random) else { return }
        let (message, sent, meant) = links[link].removeFirst()
        let (a, b) = (link / hosts.count, link % hosts.count)
        guard hosts[b].isRunning, hosts[b].incarnation == meant, hosts[a].incarnation == sent else { return }
        hosts[b].receive(message, from: OSDID(Int32(a)))
    }

    private func completeDisk() {
        guard let host = hosts.filter({ $0.isRunning && !$0.store.pending.isEmpty }).randomElement(using: &random)
        else { return }
        for _ in 0..<Int.random(in: 1...host.store.pending.count, using: &random) {
            let slot = host.store.completeOldest()
            host.groups[Int(slot.index)].committed()
        }
    }

    private func completeRead() {
        guard let host = hosts.filter({ $0.isRunning && !$0.reads.isEmpty }).randomElement(using: &random)
        else { return }
        host.completeRead(at: Int.random(in: 0..<host.reads.count, using: &random))
    }

    private func advanceSomeone() {
        let newest = epochs.count - 1
        let behind = hosts.filter { $0.isRunning && Int($0.epoch.rawValue) < newest }
        let pick = Int.random(in: 0...behind.count, using: &random)
        if pick < behind.count { return behind[pick].advance() }
        guard Int(clientEpoch.rawValue) < newest else { return }
        let old = epochs[Int(clientEpoch.rawValue)]
        clientEpoch = clientEpoch.next
        let new = epochs[Int(clientEpoch.rawValue)]
        for (_, operation) in pending.sorted(by: { $0.value.request.id.number < $1.value.request.id.number })
        where old.placement(operation.request.group) != new.placement(operation.request.group) {
            send(operation.request)
        }
    }

    func send(_ request: OperationRequest) {
        let record = epochs[Int(clientEpoch.rawValue)]
        guard let primary = record.placement(request.group).primary else { return }
        var request = request
        request.epoch = clientEpoch
        requests.append((request, primary, record.incarnations[primary] ?? 0))
    }

    private func deliverRequest() {
        guard !requests.isEmpty else { return }
        let (request, osd, incarnation) = requests.removeFirst()
        let host = hosts[Int(osd.rawValue)]
        guard host.isRunning, host.incarnation == incarnation else { return }
        host.receive(request, from: ClientHandle(session: 1))
    }

    private func startOperation() {
        let idle = objects.filter { pending[$0] == nil }
        guard let object = idle.randomElement(using: &random) else { return }
        let number = nextNumber
        nextNumber += 1
        if let history { return history.start(number, on: object, in: self) }
        let isWrite = random.chance(60)
        let isRemoval = isWrite && random.chance(12)
        let steps: [ObjectOperation] =
            isRemoval
            ? [.create(exclusive: false), .remove]
            : isWrite ? write(number) : [.read(offset: 0, length: 8)]
        let request = OperationRequest(
            id: RequestID(client: 1, number: number), epoch: clientEpoch, group: pool.group(ofHash: object.hash),
            object: object, steps: steps)
        pending[object] = Operation(request: request, isWrite: isWrite, value: isRemoval ? 0 : number)
        send(request)
    }

    /// Every object has the eight bytes of the last number; some are written over, not anew, as while they are sent.
    private func write(_ number: UInt64) -> [ObjectOperation] {
        let data = Bytes.encoding { $0.writeU64(number) }
        if !writesMetadata, random.chance(50) { return [.write(offset: 0, data: data)] }
        return [.writeFull(data: data)] + metadata(number)
    }

    private func handleReplies() {
        let arrived = replies
        replies.removeAll()
        for reply in arrived {
            guard let (object, operation) = pending.first(where: { $0.value.request.id.number == reply.number })
            else { continue }
            pending[object] = nil
            completed += 1
            if let history {
                history.ended(operation, reply)
                continue
            }
            if operation.isWrite {
                #expect(reply.outcome == .done(errno: 0), "write \(operation.request.id) of \(object)")
                acknowledged[object] = operation.value
            } else {
                check(reply, of: object)
            }
        }
    }

    /// With one operation at a time on an object, a read gives exactly the last acknowledged value.
    private func check(_ reply: OperationReply, of object: ObjectID) {
        guard let expected = acknowledged[object], expected != 0 else {
            #expect(reply.outcome == .done(errno: 2), "\(object) was never written, or removed")
            return
        }
        #expect(reply.outcome == .done(errno: 0), "\(object) has \(expected)")
        guard let data = reply.outputs.first else { return }
        var reader = ByteReader(data)
        #expect((try? reader.readU64()) == expected, "read of \(object)")
    }

    private func crashOrRestart() {
        let newest = epochs[epochs.count - 1]
        // Mostly one is away, for long enough that the others write without it.
        let away = hosts.filter { !$0.isRunning }
        let host = away.isEmpty || random.chance(35) ? hosts.randomElement(using: &random)! : away[0]
        if host.isRunning {
            host.isRunning = false
            let pendingCount = host.store.pending.count
            host.store.crash(keeping: Int.random(in: 0...pendingCount, using: &random))
            host.early.removeAll()
            host.earlyRequests.removeAll()
            host.reads.removeAll()
            // What it has sent may be lost with it.
            if random.chance(60) {
                for other in hosts.indices { links[Int(host.osd.rawValue) * hosts.count + other].removeAll() }
            }
            if random.chance(50) { newEpoch { $0.up.remove(host.osd) } }
        } else {
            restart(host, newest)
        }
    }

    func restart(_ host: GroupHost, _ newest: EpochRecord) {
        if newest.up.contains(host.osd) { newEpoch { $0.up.remove(host.osd) } }
        host.incarnation += 1
        host.isRunning = true
        host.start()
        newEpoch {
            $0.up.insert(host.osd)
            $0.incarnations[host.osd] = host.incarnation
        }
    }

    /// The monitors answer one request, if its OSD is still up in that run.
    func commitUpThru() {
        guard !upThruWanted.isEmpty else { return }
        let (osd, incarnation, epoch) = upThruWanted.removeFirst()
        let newest = epochs[epochs.count - 1]
        guard newest.up.contains(osd), newest.incarnations[osd] == incarnation, newest.upThru[osd] ?? .none < epoch
        else { return }
        newEpoch { $0.upThru[osd] = epoch }
    }

    func commitActing() {
        guard !actingWanted.isEmpty else { return }
        let (osd, incarnation, group, osds) = actingWanted.removeFirst()
        let newest = epochs[epochs.count - 1]
        guard newest.up.contains(osd), newest.incarnations[osd] == incarnation,
            newest.placement(group).primary == osd, newest.temporary[group] ?? [] != osds
        else { return }
        newEpoch { $0.temporary[group] = osds.isEmpty ? nil : osds }
    }

    /// One turn of each kind is given at a time, and a group that found no room for another object hears when there is.
    private func grantTurn() {
        guard let host = hosts.filter({ $0.isRunning && $0.isServing }).randomElement(using: &random) else { return }
        _ = tend(host)
    }

    /// True when something was granted.
    func tend(_ host: GroupHost, ticks: Bool = true) -> Bool {
        guard host.isServing else { return false }
        var hasGranted = false
        for kind in TurnKind.allCases {
            guard let index = host.turns.firstIndex(where: { $0.kind == kind }), !host.turns[index].isGranted
            else { continue }
            host.turns[index].isGranted = true
            hasGranted = true
            host.groups[Int(host.turns[index].group.index)].turnGranted(kind)
        }
        let starved = host.starved
        host.starved.removeAll()
        for slot in starved { host.groups[Int(slot.index)].recoveryMayGoOn() }
        let paused = host.paused
        host.paused.removeAll()
        for (number, slot) in paused { host.groups[Int(slot.index)].pushMayGoOn(number) }
        let steps = host.scrubSteps
        host.scrubSteps.removeAll()
        for slot in steps { host.groups[Int(slot.index)].scrubMayGoOn() }
        if !steps.isEmpty { hasGranted = true }
        for group in host.groups {
            if ticks { group.tick() }
            group.leaseTick()
        }
        return hasGranted || !paused.isEmpty || (!starved.isEmpty && host.starved.isEmpty)
    }

    private func changePlacement() {
        let group = groups.randomElement(using: &random)!
        let chosen = hosts.map(\.osd).shuffled(using: &random).prefix(copies)
        newEpoch { $0.raw[group] = Array(chosen) }
    }

    private func resetSession() {
        let a = Int.random(in: 0..<hosts.count, using: &random)
        let b = Int.random(in: 0..<hosts.count, using: &random)
        guard a != b else { return }
        links[a * hosts.count + b].removeAll()
        links[b * hosts.count + a].removeAll()
        for (host, peer) in [(hosts[a], hosts[b].osd), (hosts[b], hosts[a].osd)] where host.isRunning && host.isServing
        {
            for group in host.groups { group.sessionReset(with: peer) }
        }
    }

    // MARK: The end

    /// Ends the faults, lets everything settle, and checks that nothing acknowledged is lost and all copies are equal.
    func heal() {
        for host in hosts where !host.isRunning { restart(host, epochs[epochs.count - 1]) }
        var quiet = 0
        for _ in 0..<200_000 {
            step(faults: false)
            quiet = isQuiet ? quiet + 1 : 0
            if quiet > 0 { break }
        }
    }

    private var isQuiet: Bool {
        let newest = epochs.count - 1
        return clientEpoch.rawValue == UInt32(newest) && pending.isEmpty && links.allSatisfy(\.isEmpty)
            && requests.isEmpty && upThruWanted.isEmpty && actingWanted.isEmpty
            && hosts.allSatisfy { $0.store.pending.isEmpty && Int($0.epoch.rawValue) == newest }
            && hosts.allSatisfy { $0.scrubSteps.isEmpty } && groups.allSatisfy { isSettled($0) }
    }

    /// True of a group in which nothing goes on; something may be known to be wrong.
    private func isSettled(_ group: PGID) -> Bool {
        leader(of: group)?.statistics.state.subtracting(.inconsistent) == .activeClean
    }

    func isClean(_ group: PGID) -> Bool {
        guard let primary = epochs[epochs.count - 1].placement(group).primary else { return false }
        return hosts[Int(primary.rawValue)].groups[Int(group.seed)].statistics.state == .activeClean
    }

    func phase(of group: PGID) -> PlacementGroup<GroupHost>.Phase? {
        guard let primary = epochs[epochs.count - 1].placement(group).primary else { return nil }
        return hosts[Int(primary.rawValue)].groups[Int(group.seed)].phase
    }
}
