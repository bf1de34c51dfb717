// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

/// A thin executable over one library of the same subject.
func command(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
    name: "swiftcp",
    products: [
        .executable(name: "swiftcp_launch", targets: ["swiftcp_launch"]),
        .executable(name: "swiftcp_command", targets: ["swiftcp_command"]),
        .executable(name: "swiftcp_coordinator", targets: ["swiftcp_coordinator"]),
        .executable(name: "swiftcp_restart", targets: ["swiftcp_restart"]),
        .executable(name: "swiftcp_image", targets: ["swiftcp_image"]),
    ],
    targets: [
        // Shared headers, and the system calls Swift's Glibc module lacks.
        .target(name: "CSwiftCP", cSettings: [.define("_GNU_SOURCE"), .enableWarning("all")]),
        // Unpacks compressed images, by Debian's libraries, linked statically.
        .target(
            name: "CCodec", dependencies: ["CSwiftCP"], cSettings: [.define("_GNU_SOURCE"), .enableWarning("all")],
            linkerSettings: [.linkedLibrary(":libzstd.a"), .linkedLibrary(":liblz4.a")]),
        // The shim and the restorer: plain C, built by Scripts/build-native through the plugin.
        .target(name: "Native", exclude: ["shim", "restorer", "arch"], plugins: ["BuildNative"]),
        .plugin(name: "BuildNative", capability: .buildTool(), path: "Sources/Plugins/BuildNative"),
        // The C that carries out a restart's plan.
        .target(
            name: "CRestart", dependencies: ["CSwiftCP", "CCodec"],
            cSettings: [.define("_GNU_SOURCE"), .enableWarning("all")]),

        library("SystemCalls", ["CSwiftCP"]),
        library("Options", []),
        library("Formats", []),
        library("ImageFormat", ["CSwiftCP", "CCodec", "Formats", "SystemCalls"]),
        library("Wire", ["CSwiftCP", "SystemCalls"]),
        library("Coordination", ["CSwiftCP", "Formats", "SystemCalls", "Wire", "ImageFormat"]),
        library("Launch", ["CSwiftCP", "Formats", "SystemCalls", "Wire", "Options", "Native"]),
        library(
            "Restart", ["CSwiftCP", "CRestart", "SystemCalls", "Wire", "Options", "ImageFormat", "Launch", "Native"]),

        command("swiftcp_launch", ["Launch", "Options"]),
        command("swiftcp_command", ["Wire", "Options", "SystemCalls"]),
        command("swiftcp_coordinator", ["Coordination", "Options", "SystemCalls", "CSwiftCP"]),
        command("swiftcp_restart", ["Restart", "Options"]),
        command("swiftcp_image", ["ImageFormat", "Options", "SystemCalls"]),

        // Makes random process trees for real: needs a process with one thread, which a test runner is not.
        .target(
            name: "TreeTrialCalls", dependencies: ["CRestart", "CSwiftCP"], path: "Tests/TreeTrialCalls",
            cSettings: [.define("_GNU_SOURCE"), .enableWarning("all")]),
        .executableTarget(
            name: "swiftcp_tree_trial", dependencies: ["Restart", "CRestart", "CSwiftCP", "TreeTrialCalls"],
            path: "Tests/TreeTrial", swiftSettings: strict),

        tests("SystemCallsTests", ["SystemCalls", "CSwiftCP"]),
        tests("OptionsTests", ["Options"]),
        tests("ImageFormatTests", ["ImageFormat", "Formats", "CSwiftCP"]),
        tests("WireTests", ["Wire", "CSwiftCP"]),
        tests("CoordinationTests", ["Coordination", "Wire", "CSwiftCP"]),
        tests("LaunchTests", ["Launch", "Formats", "Wire", "SystemCalls", "CSwiftCP"]),
        tests("RestartTests", ["Restart", "CRestart", "ImageFormat", "Options", "SystemCalls", "CSwiftCP"]),
    ]
)
