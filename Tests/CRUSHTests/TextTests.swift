import CRUSH
import Testing
import Wire

/// Text maps that people write, and get wrong.
@Suite struct TextTests {
    /// A valid text, by lines, for breaking one at a time.
    private static let lines = [
        "tunable choose_total_tries 50",  // 1
        "device 0 osd.0 class ssd",  // 2
        "device 1 osd.1",  // 3
        "type 0 osd",  // 4
        "type 1 host",  // 5
        "type 11 root",  // 6
        "host a {",  // 7
        "  id -2",  // 8
        "  alg straw2",  // 9
        "  hash 0 # rjenkins1",  // 10
        "  item osd.0 weight 1.0",  // 11
        "  item osd.1 weight 0.5 pos 1",  // 12
        "}",  // 13
        "root top {",  // 14
        "  id -1",  // 15
        "  alg straw2",  // 16
        "  item a weight 1.5",  // 17
        "}",  // 18
        "rule r {",  // 19
        "  id 0",  // 20
        "  type replicated",  // 21
        "  min_size 1",  // 22
        "  max_size 10",  // 23
        "  step take top class ssd",  // 24
        "  step chooseleaf firstn 0 type host",  // 25
        "  step emit",  // 26
        "}",  // 27
        "choose_args 0 {",  // 28
        "  { bucket_id -2",  // 29
        "    weight_set [ [ 1 2 ] ] ids [ 5 6 ]",  // 30
        "  }",  // 31
        "}",  // 32
    ]

    private func refusal(_ number: Int, _ line: String) -> String? {
        var lines = Self.lines
        lines[number - 1] = line
        do {
            _ = try CRUSHMap(text: lines.joined(separator: "\n"))
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func errorsNameLineAndColumn() throws {
        _ = try CRUSHMap(text: Self.lines.joined(separator: "\n"))
        let cases: [(line: Int, text: String, column: Int, word: String)] = [
            (1, "tunable choose_total_tries 5000", 28, "at most 1000"),
            (1, "tunable chooseleaf_vary_r 40", 27, "at most 31"),
            (1, "tunable nonsense 1", 9, "no tunable"),
            (1, "tunable choose_total_tries 99999999999999999999", 28, "out of range"),
            (1, "tunable choose_total_tries -1", 28, "out of range"),
            (1, "tunable choose_total_tries many", 28, "expected"),
            (1, "\u{1}\u{2}\u{3}", 1, "unexpected byte 1"),
            (1, "tunable choose_total_tries 50 $", 31, "unexpected '$'"),
            (3, "device 0 osd.1", 8, "stands twice"),
            (2, "device 70000 osd.0", 8, "out of range"),
            (3, "device 1 osd.0", 10, "stands twice"),
            (2, "device 0 osd.0 class", 1, "expected"),
            (6, "type 1 root", 6, "stands twice"),
            (6, "type 11 host", 9, "stands twice"),
            (5, "type 5000 host", 6, "out of range"),
            (7, "rack a {", 1, "no type 'rack'"),
            (7, "host osd.1 {", 6, "stands twice"),
            (8, "  id 2", 6, "out of range"),
            (8, "  id -70000", 6, "out of range"),
            (8, "  id -1", 6, "twice"),
            (9, "  alg straw3", 7, "unknown kind"),
            (10, "  hash 3", 8, "only 0"),
            (11, "  item osd.7 weight 1", 8, "no item 'osd.7'"),
            (11, "  item osd.0 weight -1", 21, "out of range"),
            (11, "  item osd.0 weight 1e30", 21, "out of range"),
            (11, "  item osd.0 weight nan", 21, "expected"),
            (11, "  item osd.0 weight 101", 8, "above 100"),
            (12, "  item osd.0 weight 1", 8, "twice"),
            (11, "  item osd.0 weight 1 pos 7", 27, "position 7"),
            (12, "  item osd.0 weight 1 pos 2", 27, "position 2"),
            (12, "  item top weight 1", 8, "cycle"),
            (9, "  alg uniform", 8, "same weight"),
            (17, "  item a weight 65536", 17, "out of range"),
            (17, "  item top weight 1", 6, "cycle"),
            (18, "rule", 1, "expected"),
            (20, "  id 256", 6, "out of range"),
            (21, "  type scattered", 8, "expected"),
            (22, "  min_size 256", 12, "out of range"),
            (24, "  step take bottom", 13, "no item 'bottom'"),
            (24, "  step take top class hdd", 23, "no device class 'hdd'"),
            (24, "  step fly", 8, "a step expected"),
            (24, "  step set_choose_tries 2000", 8, "at most 1000"),
            (25, "  step chooseleaf firstn 100 type host", 26, "out of range"),
            (25, "  step chooseleaf often 0 type host", 19, "expected"),
            (25, "  step choose firstn 0 type rack", 29, "no type 'rack'"),
            (28, "choose_args x {", 13, "expected"),
            (29, "  { bucket_id -9", 15, "does not exist"),
            (30, "    weight_set [ [ 1 ] ]", 1, "needs 2 weights"),
            (30, "    ids [ 5 ]", 1, "needs 2 ids"),
            (32, "", 1, "not the end"),
        ]
        for each in cases {
            let message = try #require(refusal(each.line, each.text), "'\(each.text)' was not noticed")
            #expect(message.contains(each.word), "'\(each.text)': \(message)")
            // Where a change makes another line wrong, that one is named.
            let elsewhere = [8, 9, 12, 17, 30].contains(each.line) || each.column == 1
            let place = elsewhere ? "line " : "line \(each.line), column \(each.column): "
            #expect(message.hasPrefix(place), "'\(each.text)': \(message)")
        }
    }

    @Test func cyclesAndDepthAreRefused() {
        func refusal(_ buckets: String) -> String {
            do {
                _ = try CRUSHMap(text: "type 0 osd\ntype 1 host\n\(buckets)")
                return "accepted"
            } catch {
                return "\(error)"
            }
        }
        let first = "host a { id -1\n alg straw2\n item b weight 1 }\n"
        #expect(refusal(first + "host b { id -2\n alg straw2\n item a weight 1 }").hasPrefix("line "))
        #expect(refusal("host a { id -1\n alg straw2\n item a weight 1 }").contains("cycle"))
        var chain = ""
        for number in 0..<100_00 { chain += "host h\(number) { alg list\n item h\(number + 1) weight 1 }\n" }
        let deep = refusal(chain + "host h10000 { alg list }")
        #expect(deep.contains("deep") && deep.hasPrefix("line "), "\(deep)")
    }

    /// What is within the language, but would take hours or all memory.
    @Test func whatIsTooMuchIsRefused() {
        func refusal(_ text: String) -> String {
            do {
                _ = try CRUSHMap(text: "type 0 osd\ntype 1 host\n" + text)
                return "accepted"
            } catch {
                return "\(error)"
            }
        }
        let classes = (0..<100_000).map { "id -\($0 % 60_000 + 1) class c\($0)\n" }.joined()
        #expect(refusal("host h {\n" + classes).hasPrefix("line 260, column 15: more than 256 device classes"))
        func rule(_ settings: String, _ step: String) -> String {
            """
            device 0 osd.0
            host h { id -1
              alg straw2
              item osd.0 weight 1 }
            rule r {
              id 0
              type replicated
              min_size 1
              max_size 10
              \(settings)
              step take h
              step \(step) 0 type host
              step emit }
            """
        }
        let tries = "step set_choose_tries 1000 step set_chooseleaf_tries"
        for step in ["chooseleaf firstn", "chooseleaf indep"] {
            let text = refusal(rule("\(tries) 66", step))
            #expect(text.hasPrefix("line 14, column 8: rule 'r' tries 1000 times"), "\(text)")
            #expect(refusal(rule("\(tries) 65", step)) == "accepted")
        }
        #expect(refusal(rule("\(tries) 1000", "choose firstn")) == "accepted")
        // Without descend_once a search takes as many tries as the choice itself.
        let old = "tunable choose_total_tries"
        #expect(refusal("\(old) 256\n" + rule("", "chooseleaf firstn")).hasPrefix("line 15, column 8: "))
        #expect(refusal("\(old) 255\n" + rule("", "chooseleaf firstn")) == "accepted")
        #expect(refusal("\(old) 256\n" + rule("", "chooseleaf indep")) == "accepted")
        let sets = (0..<65).map { "choose_args \($0) { }\n" }.joined()
        let far = "host h { id -65536 alg straw2 }\n"
        #expect(refusal(far + sets).hasPrefix("line 68, column 13: 65 sets of choose_args"))
        #expect(refusal(far + sets.replacing("choose_args 64 { }", with: "")) == "accepted")
    }

    /// Buckets that stand in two others on every level: 2^40 ways down, which nobody can wait for.
    @Test func waysThatMultiplyAreCutOff() throws {
        var text = "type 0 osd\ntype 1 host\ndevice 0 osd.0\nhost a0 { alg straw2 item osd.0 weight 0 }\n"
        text += "host b0 { alg straw2 item osd.0 weight 0 }\n"
        for level in 1...40 {
            for name in ["a", "b"] {
                text +=
                    "host \(name)\(level) { alg straw2\n item a\(level - 1) weight 0\n item b\(level - 1) weight 0 }\n"
            }
        }
        let map = try CRUSHMap(text: text)
        let rows = map.tree.utf8.lazy.filter { $0 == UInt8(ascii: "\n") }.count
        #expect(rows > CRUSHLimits.items && rows < CRUSHLimits.items + 200)
        #expect(try CRUSHMap(text: map.text).compiled == map.compiled)
    }

    @Test func noiseIsRefused() {
        var random = Seeded(testSeed("noiseIsRefused"))
        for count in [0, 1, 3, 4, 5, 100, 10_000] {
            let noise = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(throws: CRUSHError.self) { try CRUSHMap(compiled: Bytes(noise)) }
            #expect(throws: CRUSHError.self) { try CRUSHMap(file: Bytes(noise)) }
        }
        let zeros = Bytes([UInt8](repeating: 0, count: CRUSHLimits.fileBytes + 1))
        #expect(throws: CRUSHError.self) { try CRUSHMap(file: zeros) }
        #expect(throws: CRUSHError.self) { try CRUSHMap(compiled: zeros) }
    }

    /// What a text may leave out means what crushtool takes it for.
    @Test func whatIsLeftOutIsAsInTheField() throws {
        let text = """
            device 0 osd.0
            device 1 osd.1 class ssd
            device 5 osd.5 class hdd
            type 0 osd
            type 1 host
            type 2 root
            host a { alg straw item osd.0 item osd.1 weight 2 item osd.5 weight .5 }
            host b { id -1 id -7 class ssd alg straw2 hash rjenkins1 item osd.1 weight 1e1 pos 1 item osd.0 weight 3. }
            root r { alg list item a item b weight 9.25 }
            rule one { ruleset 3 type erasure min_size 0 max_size 255 step take r class hdd step choose indep -1 type host
              step set_chooseleaf_stable 1 step emit }
            choose_args 18446744073709551615 { { bucket_id -1 weight_set [ [ 1 2.5 ] [ 3 4 ] ] ids [ 4 -5 ] } { bucket_id -7 } }
            choose_args 7 { }
            """
        let tool = try Crushtool()
        try tool.compile(text, to: "map")
        let map = try CRUSHMap(text: text)
        #expect(try tool.bytes("map") == map.compiled)
        #expect(map.text == (try tool.decompile("map")))
        #expect(map.chooseArguments.keys.sorted() == [-1, 7])
    }
}
