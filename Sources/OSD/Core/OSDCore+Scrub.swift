import PlacementGroup
import Protocol
import Wire

/// Groups that have something to do in steps, so that no turn of the loop is long.
struct ScrubSteps {
    /// Writes wait for these.
    var urgent: [GroupSlot] = []
    /// These have time; beside clients they go on with the next tick.
    var patient: [GroupSlot] = []
}

/// Scrubs among what else an OSD does.
extension OSDCore {
    public func recovered(bytes: UInt64) {
        recovered.objects += 1
        recovered.bytes &+= bytes
    }

    public func requestScrubStep(for group: GroupSlot, isUrgent: Bool) {
        if isUrgent {
            if !scrubSteps.urgent.contains(group) { scrubSteps.urgent.append(group) }
        } else if !scrubSteps.patient.contains(group) {
            scrubSteps.patient.append(group)
        }
        if isUrgent || !turns.isBusy { environment.requestTurn() }
    }

    /// At the end of a turn, and with every tick.
    func takeScrubSteps(isTick: Bool = false) {
        guard !scrubSteps.urgent.isEmpty || !scrubSteps.patient.isEmpty else { return }
        var slots = scrubSteps.urgent
        scrubSteps.urgent.removeAll()
        if isTick || !turns.isBusy {
            slots += scrubSteps.patient.filter { !slots.contains($0) }
            scrubSteps.patient.removeAll()
        }
        for slot in slots { groups[Int(slot.index)].scrubMayGoOn() }
    }
}
