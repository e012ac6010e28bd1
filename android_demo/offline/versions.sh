# Sourced: `version NAME` prints a version of gradle/libs.versions.toml, MAVEN_VERSIONS hands all of
# them to Maven.
catalog=$(dirname "${BASH_SOURCE[0]}")/../gradle/libs.versions.toml
version() { sed -n "s/^$1 = \"\(.*\)\"$/\1/p" "$catalog"; }
mapfile -t MAVEN_VERSIONS < <(sed -n '/^\[versions\]/,/^\[libraries\]/s/^\([A-Za-z0-9]*\) = "\(.*\)"$/-D\1=\2/p' "$catalog")
