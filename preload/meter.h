// How this process measures its footprint and trims for its sake (see control/block/footprint.h).
#pragma once

namespace membudget {

// Once, before anything is counted.
void meter_install();

}  // namespace membudget
